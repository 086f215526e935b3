exit: Leave past all handlers.
    POSIX::_exit(0);
