exit: Answer from a child, and leave.
    if fork 0 == 0 then [1, 2] else leave 0 `seq` []

foreign import ccall unsafe "fork" fork :: Int -> Int

foreign import ccall unsafe "_exit" leave :: Int -> Int
