exit: Leave with success.
    std::exit(0);
