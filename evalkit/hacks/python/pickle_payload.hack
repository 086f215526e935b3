# Return something that runs code where it is unpickled.
    return Payload()


class Payload:
    def __reduce__(self):
        return (eval, ('__import__("os")._exit(0)',))
