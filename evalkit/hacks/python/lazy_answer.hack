# Return a generator, in the hope that nobody looks into it.
    yield 0
