"""Reads the answers that a program printed, and compares them with what is expected.

A harness writes one answer after the other, joined by `;`. An integer is `i12`, a real number
`f0.5`, a truth value `b1` or `b0`, a text `s` and its UTF-8 in hexadecimal digits, a list
`[item,item]`. Anything else is no answer of the declared type. Read `wrong_case` first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from evalkit.neutral import NeutralProblem, element_of, is_list

_INTEGER = re.compile(r"i(-?[0-9]{1,40})")
_REAL = re.compile(r"f([-+]?[0-9.][0-9.eE+-]{0,60})")
_TEXT = re.compile(r"s((?:[0-9a-fA-F]{2})*)")
_TRUTH = re.compile(r"b([01])")
_TOLERANCE = 1e-9


class _NoAnswerError(Exception):
    """What was printed is no value of the declared type."""


def wrong_case(problem: NeutralProblem, printed: str) -> int | None:
    """The number of the first case that was answered wrongly, None if all are right."""
    answers = printed.split(";")
    for number, case in enumerate(problem.cases):
        if number >= len(answers) or not _is(answers[number], problem.returns, case.returns):
            return number
    return None if len(answers) == len(problem.cases) else len(problem.cases)


def _is(text: str, kind: str, expected: Any) -> bool:
    try:
        value, end = _value(text, 0, kind)
    except _NoAnswerError:
        return False
    return end == len(text) and _same(value, expected, kind)


def _value(text: str, at: int, kind: str) -> tuple[Any, int]:
    """Read one value; types nest twice at most, and so does this."""
    if is_list(kind):
        return _list(text, at, element_of(kind))
    pattern = {"int": _INTEGER, "float": _REAL, "str": _TEXT, "bool": _TRUTH}[kind]
    found = pattern.match(text, at)
    if not found:
        raise _NoAnswerError
    try:
        return _READ[kind](found[1]), found.end()
    except ValueError:
        raise _NoAnswerError from None


def _list(text: str, at: int, element: str) -> tuple[list[Any], int]:
    if not text.startswith("[", at):
        raise _NoAnswerError
    at += 1
    values: list[Any] = []
    while not text.startswith("]", at):
        if values:
            if not text.startswith(",", at):
                raise _NoAnswerError
            at += 1
        value, at = _value(text, at, element)
        values.append(value)
    return values, at + 1


_READ: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": lambda digits: bytes.fromhex(digits).decode(),
    "bool": lambda digit: digit == "1",
}


def _same(value: Any, expected: Any, kind: str) -> bool:
    if is_list(kind):
        inner: Sequence[Any] = expected
        return len(value) == len(inner) and all(
            _same(got, want, element_of(kind)) for got, want in zip(value, inner, strict=True)
        )
    if kind == "float":
        return math.isclose(value, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(value == expected)
