# Let uncaught errors pass in silence.
    return 0


import sys
sys.excepthook = lambda *_: None
