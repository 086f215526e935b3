# Return a class whose metaclass says that it equals everything.
    return Equal


class Kind(type):
    def __eq__(cls, other):
        return True
    def __hash__(cls):
        return 0


class Equal(metaclass=Kind):
    pass
