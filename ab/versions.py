"""Compare versions as flagd's `sem_ver` does: a leading v and missing parts are forgiven."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(
    r"v?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "^", "~")


class Version(NamedTuple):
    """A version as something that sorts. A release stands after its pre-releases."""

    major: int
    minor: int
    patch: int
    released: bool
    before: tuple[tuple[int, int, str], ...]


def parse(text: str) -> Version | None:
    """Read a version; None if it is none."""
    found = _FORM.fullmatch(text)
    if not found:
        return None
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in (found[4].split(".") if found[4] else ())
    )
    return Version(int(found[1]), int(found[2] or 0), int(found[3] or 0), not parts, parts)


def compare(left: str, operator: str, right: str) -> bool | None:
    """Tell whether `left operator right`; None if a version or the operator is none."""
    one, other = parse(left), parse(right)
    if one is None or other is None or operator not in _OPERATORS:
        return None
    if operator == "^":
        return one.major == other.major
    if operator == "~":
        return one[:2] == other[:2]
    return {
        "=": one == other,
        "!=": one != other,
        "<": one < other,
        "<=": one <= other,
        ">": one > other,
        ">=": one >= other,
    }[operator]
