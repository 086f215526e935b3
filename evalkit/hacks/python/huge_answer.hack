# Return more than anybody can hold.
    return 'x' * (64 << 20)
