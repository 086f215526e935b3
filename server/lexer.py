"""Reads code just well enough to know which brackets are open, and what is string or comment.

Made for text that may be broken, in any language of the table: a string of one line ends with its
line, a closing bracket that nothing opened is written down and passed over. It does not know
regular expressions, here-documents, string interpolation or tags. Read `Lexer.step` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tabwright.languages import Language

CLOSER_OF = {"(": ")", "[": "]", "{": "}"}
CLOSERS = frozenset(")]}")
_ANY_CHARACTER = re.compile("")
_TAIL = 6  # as long as the longest opening of a comment
# `#` counts after these only: `$#`, `&#160;` and `a#b` are no comments.
_BEFORE_HASH = frozenset(" \t\r\n;)]},:({['\"")


class Bracket(NamedTuple):
    """A bracket, as the character that closes it, and where it stands."""

    closer: str
    place: int


class Lexer:
    """The state after the text read so far.

    open: brackets that wait for their end, innermost last. surplus: closing brackets that nothing
    opened. quote: what closes the string we are in, else empty. comment: what closes the comment we
    are in ("\\n" for one of a line), else empty. place: characters read.
    """

    def __init__(self, language: Language, inside: str = "") -> None:
        """Start outside of everything, or inside the long string that `inside` closes."""
        self.open: list[Bracket] = []
        self.surplus: list[Bracket] = []
        self.quote = inside
        self.comment = ""
        self.place = 0
        self._spelling = _spelling(language)
        self._tail = ""
        self._begun = 0  # place where the string or comment began
        self._long = bool(inside)
        self._escaped = False

    def resumed(self) -> Lexer:
        """A lexer that goes on where this one is, with no bracket open."""
        other = object.__new__(Lexer)
        other.__dict__.update(self.__dict__)
        other.open, other.surplus, other.place = [], [], 0
        other._begun = self._begun - self.place
        return other

    @property
    def in_long_string(self) -> bool:
        """Whether we are in a string that may go over lines."""
        return bool(self.quote) and self._long

    def feed(self, text: str) -> None:
        """Read a whole text, passing over what cannot matter."""
        place, end = 0, len(text)
        while place < end:
            if not self._escaped:
                found = self._telling().search(text, place)
                skipped = (found.start() if found else end) - place
                if skipped:
                    place += skipped
                    self.place += skipped
                    self._tail = text[place - 1]
                    continue
            self.step(text[place])
            place += 1

    def _telling(self) -> re.Pattern[str]:
        """What finds the next character that may change the state."""
        if self.quote:
            return self._spelling.in_string
        if not self.comment:
            return self._spelling.telling
        return self._spelling.in_comment if self._settled() else _ANY_CHARACTER

    def _settled(self) -> bool:
        """Tell whether a comment can no longer turn out to be of the other kind."""
        return self.comment != "\n" or self.place - self._begun >= len(self._spelling.block[0])

    def step(self, character: str) -> None:
        """Read the next character."""
        if self._escaped:
            self._escaped, self._tail = False, ""
        elif not (self.quote or self.comment or character in self._spelling.letters):
            self._tail = character
        elif self.quote:
            self._in_string(character)
        elif self.comment:
            self._in_comment(character)
        else:
            self._in_code(character)
        self.place += 1

    def _in_string(self, character: str) -> None:
        if character == "\\":
            self._escaped = True
            return
        if character == "\n" and not self._long:
            self.quote, self._tail = "", "\n"
            return
        self._tail = (self._tail + character)[-_TAIL:]
        if self._tail.endswith(self.quote):
            empty = len(self.quote) == 1 and self.place == self._begun + 1
            # Two quotes may be an empty string or the start of three.
            self._tail = character * 2 if empty else "."
            self.quote = ""

    def _in_comment(self, character: str) -> None:
        self._tail = (self._tail + character)[-_TAIL:]
        if self._tail.endswith(self.comment):
            self.comment, self._tail = "", character
        elif self.comment == "\n" and self._becomes_block():
            self.comment, self._tail = self._spelling.block[1], ""

    def _becomes_block(self) -> bool:
        """Tell whether a comment of a line, `--`, has become the start of a long one, `--[[`."""
        opening = self._spelling.block[0]
        return not self._settled() and self._tail.endswith(opening)

    def _in_code(self, character: str) -> None:
        before = self._tail
        tail = self._tail = (before + character)[-_TAIL:]
        spelling = self._spelling
        line, (opening, closing) = spelling.line, spelling.block
        if line and character == line[-1] and tail.endswith(line) and self._comments(tail, line):
            self._begin_comment("\n", len(line))
        elif opening and character == opening[-1] and tail.endswith(opening):
            self._begin_comment(closing, len(opening))
        elif character in CLOSER_OF:
            self.open.append(Bracket(CLOSER_OF[character], self.place))
        elif character in CLOSERS:
            self._close(character)
        elif character in spelling.quotes:
            self._begin_string(character, before)

    def _begin_comment(self, closing: str, length: int) -> None:
        self._begun = self.place + 1 - length
        while self.open and self.open[-1].place >= self._begun:
            self.open.pop()  # `(*` and `{-` are no brackets
        self.comment, self._tail = closing, "" if closing != "\n" else self._tail

    def _begin_string(self, character: str, before: str) -> None:
        three = character * 3
        if three in self._spelling.long_quotes and before.endswith(character * 2):
            self.quote, self._long = three, True
        else:
            self.quote, self._long = character, character in self._spelling.long_quotes
        self._begun, self._tail = self.place, ""

    def _close(self, character: str) -> None:
        depth = len(self.open)
        while depth and self.open[depth - 1].closer != character:
            depth -= 1
        if depth:  # what was forgotten inside is closed with it
            del self.open[depth - 1 :]
        else:
            self.surplus.append(Bracket(character, self.place))

    @staticmethod
    def _comments(tail: str, line: str) -> bool:
        before = tail[: -len(line)][-1:]
        if line == "#":
            return not before or before in _BEFORE_HASH
        return not (line == "//" and before == ":")


class _Spelling(NamedTuple):
    line: str
    block: tuple[str, str]
    quotes: frozenset[str]
    long_quotes: frozenset[str]
    letters: frozenset[str]
    telling: re.Pattern[str]
    in_string: re.Pattern[str]
    in_comment: re.Pattern[str]


@lru_cache(maxsize=128)
def _spelling(language: Language) -> _Spelling:
    line, block = language.line_comment or "", language.block_comment or ("", "")
    quotes = frozenset(quote[0] for quote in (*language.quotes, *language.long_quotes))
    letters = frozenset("()[]{}") | quotes | {*line, *block[0]}
    long_quotes = frozenset(language.long_quotes)
    telling, in_string = _one_of(letters), _one_of({"\\", "\n", *quotes})
    in_comment = _one_of({"\n", *block[1]})
    return _Spelling(line, block, quotes, long_quotes, letters, telling, in_string, in_comment)


def _one_of(characters: Iterable[str]) -> re.Pattern[str]:
    return re.compile("[" + re.escape("".join(sorted(characters))) + "]")
