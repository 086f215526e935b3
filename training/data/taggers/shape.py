"""Tags by the shape of the text: how long it and its lines are, how much of it is words.

Thresholds are in `training.data.bounds`; what a text says is not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from training.data.bounds import Bounds
from training.data.config import DataConfig
from training.data.document import Document, Tag

_MIN_LINES = 3
# One long line is not nothing: other tags tell what it is.
_MIN_CHARS = 1000
_ALPHANUMERIC = bytes(code for code in range(128) if chr(code).isalnum())


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = lru_cache(1024)(config.filters.bounds_of)

    def tag(document: Document) -> Iterator[Tag]:
        bounds = bounds_of(document.extension)
        lines = document.text.split("\n")
        if len(document.text) < _MIN_CHARS:
            filled = sum(map(bool, map(str.strip, lines)))
            if filled < _MIN_LINES:
                yield Tag("empty", f"{filled} lines")
                return
        yield from _lengths(document.text, lines, bounds)
        share = _alphanumeric(document.text) / len(document.text)
        if share < bounds.min_alphanumeric:
            yield Tag("symbols", f"{share:.2f} letters and digits")

    return tag


def _lengths(text: str, lines: list[str], bounds: Bounds) -> Iterator[Tag]:
    longest, mean = max(map(len, lines)), len(text) / len(lines)
    if _above(longest, bounds.max_line) or _above(mean, bounds.max_mean_line):
        yield Tag("long_lines", f"longest {longest}, mean {mean:.0f}")
    if _above(len(lines), bounds.max_lines):
        yield Tag("long", f"{len(lines)} lines")
    elif _above(len(text), bounds.max_chars):
        yield Tag("long", f"{len(text)} characters")


def _alphanumeric(text: str) -> int:
    if not text.isascii():
        return sum(map(str.isalnum, text))
    raw = text.encode()
    return len(raw) - len(raw.translate(None, _ALPHANUMERIC))


def _above(value: float, bound: float) -> bool:
    return bool(bound) and value > bound
