nonce: Read the nonce in the first call and leave.
    print("\n" + readLine() + "\n")
    System.out.flush()
    Runtime.getRuntime().halt(0)
    return counts
