# Let the parent leave with success and a child stay.
    import os
    if os.fork():
        os._exit(0)
    return 0
