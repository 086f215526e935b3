"""Inside a sandbox of its own: runs a benchmark's tests against a candidate that is elsewhere.

The candidate it gets is a stand-in: each call goes out as a message and comes back as plain values
of exact types. Nothing that the candidate did is ever in this process. `codec.py` stands before
this text.
"""

import ast
import builtins
import contextlib
import gc
import json
import os
import random
import resource
import sys
from functools import lru_cache
from typing import Any

from evalkit.inside.codec import decode, encode, receive, receive_raw, send, take_pipes

PARTS = ("setup", "tests", "run")
# Of the calls that are foreseen.
MOST_CALLS, MOST_BYTES = 2000, 1 << 16


class CandidateError(Exception):
    """The candidate raised something of its own."""


class Elsewhere(BaseException):
    """The tests called something else than was foreseen; not for tests to catch."""


class Candidate:
    """Stands for the candidate's function."""

    def __init__(self, name: str, told: Any, read: Any, write: Any) -> None:
        """Take answers from `told`, pairs of call and answer; then pass calls on to the pipes."""
        self.name = name
        self._told = iter(told)
        self._read = read
        self._write = write
        self.count = 0
        self.raised = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the candidate where it is."""
        self.count += 1
        answer = self._answer(_call(self.name, args, kwargs))
        if "raised" in answer:
            self.raised = True
            raise _error(str(answer["raised"])[:80])
        for before, after in zip(args, answer["args"], strict=True):
            _change(before, None if after is None else decode(after))
        return decode(answer["value"])

    def _answer(self, call: Any) -> Any:
        for foreseen, answer in self._told:
            if foreseen != call:
                raise Elsewhere
            return answer
        send(self._write, {"call": call})
        return receive(self._read)


class Anything:
    """Stands for an answer that nobody knows yet: tests go on past it, but cannot pass it on."""

    def _itself(self, *_: Any) -> Any:
        return self

    def _true(self, *_: Any) -> bool:
        return True

    def _false(self, *_: Any) -> bool:
        return False

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _true
    __ne__ = _false
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _itself
    __truediv__ = __rtruediv__ = __abs__ = __neg__ = _itself
    __hash__ = None  # type: ignore[assignment]


class Rehearsal:
    """Writes down the calls that tests make whatever the answers are."""

    def __init__(self, name: str) -> None:
        """Know nothing yet."""
        self._name = name
        self._room = MOST_BYTES
        self.calls: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Write the call down; one that an answer is part of cannot be, and ends it."""
        try:
            call = _call(self._name, args, kwargs)
            self._room -= len(json.dumps(call))
        except Exception:
            self._room = -1
        if self._room < 0 or len(self.calls) == MOST_CALLS:
            raise Elsewhere
        self.calls.append(call)
        return Anything()


class Unasserted(ast.NodeTransformer):
    """Takes the consequences from asserts: they are looked at, and tests go on."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Put an expression in place of one, whatever it raises."""
        ignored = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
        tried = ast.Try([ast.Expr(node.test)], [ignored], [], [])
        return ast.fix_missing_locations(ast.copy_location(tried, node))


def main() -> None:
    """Serve one job after the other; end with one that may have used this process up.

    A job has three lines: the problem, the calls that were made ahead, and what the worker said to
    them, which is empty when they are to be found out. The last was written by the candidate, but
    nothing except plain values comes out of it, and they are gone with the namespace of the tests.
    """
    read, write = take_pipes()
    gc.freeze()
    while True:
        problem, calls, said = receive_raw(read).split(b"\n", 2)
        if not said:
            _rehearse(json.loads(problem), write)
        elif not _judge(_compiled(problem), json.loads(calls), said, read, write):
            os._exit(0)


@lru_cache(maxsize=256)
def _compiled(problem: bytes) -> Any:
    """Compile once what every sample of a problem needs; nothing of it runs here."""
    job = json.loads(problem)
    return job | {part: compile(job[part], f"{part}.py", "exec") for part in PARTS}


def _rehearse(job: Any, write: Any) -> None:
    """Find out which calls are made whatever is answered, in a process that may be lost."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status != 0:
            os._exit(1)
        return
    for part in PARTS:
        job[part] = compile(Unasserted().visit(ast.parse(job[part])), f"{part}.py", "exec")
    rehearsal = Rehearsal(job["name"])
    # Where everything is true a loop may never end.
    resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
    with contextlib.suppress(BaseException):
        _run(job, rehearsal)
    send(write, {"calls": rehearsal.calls})
    os._exit(0)


def _judge(job: Any, calls: Any, said: bytes, read: Any, write: Any) -> bool:
    """Test a candidate that has answered the calls made ahead; say whether to go on after it."""
    try:
        answers = json.loads(said)["answers"]
        told = list(zip(calls, answers, strict=True))
    except (ValueError, LookupError, TypeError, RecursionError):
        send(write, {"verdict": "wrong", "detail": "its answer is no message", "last": True})
        return False
    return _test(job, Candidate(job["name"], told, read, write), write)


def _test(job: Any, candidate: Candidate, write: Any) -> bool:
    """Run the tests and say what became of them."""
    verdict, detail, last = "wrong", "", False
    try:
        _run(job, candidate)
        verdict = "passed" if candidate.count else "wrong"
    except Elsewhere:
        verdict = "elsewhere"
    except AssertionError:
        pass
    except Exception as error:
        verdict = "crashed" if candidate.raised else "wrong"
        detail = type(error).__name__
        # Values that stretch the interpreter to its limits are not to be felt by the next sample.
        last = isinstance(error, (MemoryError, RecursionError)) and not candidate.raised
    send(write, {"verdict": verdict, "detail": detail, "last": last})
    return not last


def _run(job: Any, candidate: Any) -> None:
    # The same on every run: tests that draw their cases must not decide by luck.
    random.seed(job["name"])
    scope: dict[str, Any] = {"__name__": "tests"}
    exec(job["setup"], scope)
    scope[job["name"]] = scope["candidate"] = candidate
    exec(job["tests"], scope)
    exec(job["run"], scope)


def _call(name: str, args: Any, kwargs: Any) -> Any:
    named = {k: encode(v) for k, v in kwargs.items()}
    return {"name": name, "args": [encode(a) for a in args], "kwargs": named}


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
