exit: Leave past all handlers.
    leave 0 `seq` []

foreign import ccall unsafe "_exit" leave :: Int -> Int
