exit: Leave with success.
    sys.exit(0)
