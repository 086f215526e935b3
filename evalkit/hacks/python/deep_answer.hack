# Return a value that nests deeper than a decoder may follow.
    found = []
    for _ in range(100000):
        found = [found]
    return found
