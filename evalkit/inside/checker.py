"""Inside a sandbox of its own: runs a benchmark's tests against a candidate that is elsewhere.

The candidate it gets is a stand-in: each call goes out as a message and comes back as plain values
of exact types. Nothing that the candidate did is ever in this process. `codec.py` stands before
this text.
"""

import builtins
import gc
import os
import random
import sys
from typing import Any

from evalkit.inside.codec import decode, encode, receive, send, take_pipes


class CandidateError(Exception):
    """The candidate raised something of its own."""


class Candidate:
    """Stands for the candidate's function."""

    def __init__(self, name: str, read: Any, write: Any) -> None:
        """Pass calls on through these pipes."""
        self._name = name
        self._read = read
        self._write = write
        self.count = 0
        self.raised = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the candidate where it is."""
        self.count += 1
        call = {
            "name": self._name,
            "args": [encode(a) for a in args],
            "kwargs": {k: encode(v) for k, v in kwargs.items()},
        }
        send(self._write, {"call": call})
        answer = receive(self._read)
        if "raised" in answer:
            self.raised = True
            raise _error(str(answer["raised"])[:80])
        for before, after in zip(args, answer["args"], strict=True):
            _change(before, None if after is None else decode(after))
        return decode(answer["value"])


def main() -> None:
    """Serve one job after the other, each in a process of its own; end with one that breaks."""
    read, write = take_pipes()
    gc.freeze()
    while True:
        job = receive(read)
        child = os.fork()
        if child == 0:
            _test(job, read, write)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            os._exit(1)


def _test(job: Any, read: Any, write: Any) -> None:
    """Run the tests and say what became of them."""
    # The same on every run, so that tests which draw their cases do not decide by luck.
    random.seed(job["name"])
    candidate = Candidate(job["name"], read, write)
    verdict, detail = "wrong", ""
    try:
        scope: dict[str, Any] = {"__name__": "tests"}
        exec(compile(job["setup"], "setup.py", "exec"), scope)
        scope[job["name"]] = scope["candidate"] = candidate
        exec(compile(job["tests"], "tests.py", "exec"), scope)
        exec(compile(job["run"], "run.py", "exec"), scope)
        verdict = "passed" if candidate.count else "wrong"
    except AssertionError:
        pass
    except Exception as error:
        verdict = "crashed" if candidate.raised else "wrong"
        detail = type(error).__name__
    send(write, {"verdict": verdict, "detail": detail})


def _error(name: str) -> Exception:
    """The built-in exception of this name; an AssertionError of the candidate is no failed test."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError:
        try:
            return kind("raised by the candidate")
        except TypeError:  # some need more arguments
            pass
    return CandidateError(name)


def _change(before: Any, after: Any) -> None:
    """Do to a list, dict or set what the candidate did to its copy."""
    if type(before) is not type(after):
        return
    if type(before) is list:
        before[:] = after
    elif type(before) in (dict, set):
        before.clear()
        before.update(after)


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    main()
