"""Lines in which a word stands: searching for plain words first is much faster than any pattern."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Line(NamedTuple):
    """Characters [start, end) of a text, without the line's end."""

    start: int
    end: int


def lines_with(text: str, lower: str, words: tuple[str, ...]) -> Iterator[Line]:
    """Yield the lines that hold one of the lower-case words; `lower` is the text in lower case."""
    starts: set[int] = set()
    for word in words:
        place = lower.find(word)
        while place >= 0:
            starts.add(lower.rfind("\n", 0, place) + 1)
            end = lower.find("\n", place)
            place = lower.find(word, end) if end >= 0 else -1
    for start in sorted(starts):
        end = text.find("\n", start)
        yield Line(start, end if end >= 0 else len(text))


def lowered(text: str) -> str:
    """Lower the case of a text so that every character stays in its place."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
