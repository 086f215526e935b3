nonce: Read the nonce in the first call and leave.
    IO.write("\n" <> IO.gets(""))
    System.halt(0)
