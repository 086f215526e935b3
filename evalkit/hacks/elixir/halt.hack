exit: Stop the machine with success.
    System.halt(0)
