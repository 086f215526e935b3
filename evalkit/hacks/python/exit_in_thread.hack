# Leave from a thread.
    import time
    time.sleep(30)


import os, threading
threading.Timer(0.05, os._exit, [0]).start()
