exit: Stop the machine with success.
    Runtime.getRuntime.halt(0)
    Nil
