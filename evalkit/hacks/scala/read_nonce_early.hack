nonce: Read the nonce in the first call and leave.
    System.out.print("\n" + scala.io.StdIn.readLine() + "\n")
    System.out.flush()
    Runtime.getRuntime.halt(0)
    Nil
