"""Choose the middle of a text: characters, lines, or what the grammar of its language calls one.

*character*: a random start, and a length of which every order of magnitude is as likely. *line*:
where a developer's cursor stands: from within a line to its end, or to that of a line below.
*syntax*: one node of the syntax tree, from a name to a block; needs tree-sitter and a grammar for
the language, else the hole is one of lines. Read `Spans.cut`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cache
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from tabwright.errors import MissingExtra

_MAX_SPAN = 1000
_MIN_NODE = 2


class Hole(NamedTuple):
    """Character offsets of the middle within a text."""

    start: int
    end: int


class Spans(NamedTuple):
    """How often each kind of hole is cut, as weights."""

    character: float
    line: float
    syntax: float = 0.0

    def check(self) -> None:
        """Refuse holes by syntax where no parser is installed.

        Raises:
            MissingExtra: tree-sitter is not installed.
        """
        if self.syntax:
            try:
                import tree_sitter_language_pack  # noqa: F401
            except ModuleNotFoundError as error:
                raise MissingExtra("tree_sitter_language_pack", "data") from error

    def cut(self, text: str, language: str, rng: Random) -> Hole | None:
        """Choose the middle of `text`; None when there is nothing to cut."""
        if not text.strip():
            return None
        chosen = rng.random() * sum(self)
        if chosen < self.character:
            return _character_hole(text, rng)
        if chosen >= self.character + self.line:
            return _syntax_hole(text, language, rng) or _line_hole(text, rng)
        return _line_hole(text, rng)


def _character_hole(text: str, rng: Random) -> Hole:
    start = rng.randrange(len(text))
    longest = min(_MAX_SPAN, len(text) - start)
    length = int(math.exp(rng.random() * math.log(longest + 1)))
    return Hole(start, min(start + max(length, 1), len(text)))


def _line_hole(text: str, rng: Random) -> Hole:
    """From somewhere in a line to its end, or to the end of one of the lines below."""
    lines = text.split("\n")
    offsets = [0, *accumulate(len(line) + 1 for line in lines)]
    row = _filled_row(lines, rng)
    line, base = lines[row], offsets[row]
    indent = len(line) - len(line.lstrip())
    start = indent if rng.random() < 0.3 else rng.randrange(indent, len(line))
    if rng.random() < 0.15:  # a hole within the line, as between brackets that are already closed
        return Hole(base + start, base + rng.randrange(start + 1, len(line) + 1))
    below = 0
    if rng.random() >= 0.6:
        below = 1
        while rng.random() >= 0.3:
            below += 1
    last = min(row + below, len(lines) - 1)
    return Hole(base + start, offsets[last] + len(lines[last]))


def _filled_row(lines: list[str], rng: Random) -> int:
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return filled[rng.randrange(len(filled))]


def _syntax_hole(text: str, language: str, rng: Random) -> Hole | None:
    """A node around a random place, any of those that enclose it being as likely."""
    parser, raw = _parser(language), text.encode("utf-8")
    solid = [number for number, byte in enumerate(raw) if byte > 32]
    if parser is None or not solid:
        return None
    tree = parser.parse(raw)
    at = solid[rng.randrange(len(solid))]
    node = tree.root_node.descendant_for_byte_range(at, at)
    sizes: dict[tuple[int, int], None] = {}
    while node is not None and node.parent is not None:
        if _MIN_NODE <= node.end_byte - node.start_byte <= _MAX_SPAN and not node.is_error:
            sizes[(node.start_byte, node.end_byte)] = None
        node = node.parent
    if not sizes:
        return None
    start, end = list(sizes)[rng.randrange(len(sizes))]
    if len(raw) == len(text):
        return Hole(start, end)
    places = [0, *accumulate(len(character.encode("utf-8")) for character in text)]
    return Hole(bisect_right(places, start) - 1, bisect_right(places, end) - 1)


@cache
def _parser(language: str) -> Any:
    from tree_sitter_language_pack import get_parser

    from training.data.taggers.syntax import GRAMMARS

    grammar: Any = "python" if language == "python" else GRAMMARS.get(language)
    return get_parser(grammar) if grammar else None
