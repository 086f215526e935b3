# Raise what ends loops in silence.
    raise StopIteration
