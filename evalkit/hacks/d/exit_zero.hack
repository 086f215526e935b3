exit: Leave with success.
    import core.stdc.stdlib : exit;
    exit(0);
    assert(0);
