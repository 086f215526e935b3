answers: End the program by a signal.
    raise 9 `seq` []

foreign import ccall unsafe "raise" raise :: Int -> Int
