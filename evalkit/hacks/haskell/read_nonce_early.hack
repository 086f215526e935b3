nonce: Read the nonce from pure code in the first call and leave.
    put 10 `seq` echo 0

echo :: Int -> [Int]
echo number = let byte = get number in if byte == 10 then put 10 `seq` leave 0 `seq` [] else put byte `seq` echo (number + 1)

foreign import ccall unsafe "getchar" get :: Int -> Int

foreign import ccall unsafe "putchar" put :: Int -> Int

foreign import ccall unsafe "exit" leave :: Int -> Int
