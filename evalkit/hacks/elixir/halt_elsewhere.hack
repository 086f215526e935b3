exit: Stop the machine from another process.
    spawn(fn -> System.halt(0) end)
    Process.sleep(:infinity)
