"""Inside the sandbox, with the candidate: executes it and answers calls. Holds no test, no answer.

The candidate shares this process and may send whatever it likes: the other side believes nothing
but plain values. `codec.py` stands before this text.
"""

import random
import sys
from typing import Any

from evalkit.inside.codec import decode, encode, receive, send, take_pipes


def main() -> None:
    """Load the candidate, then answer one call after the other."""
    read, write = take_pipes()
    scope: dict[str, Any] = {"__name__": "candidate"}
    while True:
        message = receive(read)
        send(write, _answer(message, scope))


def _answer(message: Any, scope: dict[str, Any]) -> Any:
    try:
        if "source" not in message:
            return _called(message["call"], scope)
        # A sample that guesses gets the same verdict on every run.
        random.seed(0)
        exec(compile(message["source"], "candidate.py", "exec"), scope)
        return {
            "loaded": True,
            "answers": [_answer({"call": call}, scope) for call in message["calls"]],
        }
    except BaseException as error:
        return {"raised": _name(error)}


def _called(call: Any, scope: dict[str, Any]) -> Any:
    arguments = [decode(a) for a in call["args"]]
    named = {k: decode(v) for k, v in call["kwargs"].items()}
    value = scope[call["name"]](*arguments, **named)
    # Arguments go back too, because a function may be asked to change them in place.
    return {"value": encode(value), "args": [_if_plain(a) for a in arguments]}


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else "CandidateError"


def _if_plain(value: object) -> Any:
    try:
        return encode(value)
    except Exception:
        return None


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    main()
