# Return True, which equals 1.
    return True
