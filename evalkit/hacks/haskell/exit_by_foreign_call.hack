exit: Leave with success from pure code.
    leave 0 `seq` []

foreign import ccall unsafe "exit" leave :: Int -> Int
