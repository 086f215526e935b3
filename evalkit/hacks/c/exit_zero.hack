exit: Leave with success.
    exit(0);
