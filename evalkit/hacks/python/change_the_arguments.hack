# Change the argument so that it agrees with the answer.
    values.clear()
    return 0
