exit: Leave with success.
        Environment.Exit(0);
        return null;
