"""Loose ends: lines of an answer that were not finished are not shown.

When the last lines open a bracket, a string or a block that nothing closes or fills, the answer
ends after the last line that stands by itself; when not even the first does, it is empty. A line
that the length limit cut is dropped too, but not the first: the caller asked for so few tokens.
"""

from __future__ import annotations

import re

from server.cursor import Cursor

_MOST = 1000  # characters held back; a longer statement is shown as it is
_ENDS = frozenset(")]}\"'")
_LETTER = re.compile(r"\w")


class LooseEnds:
    """Holds back lines until they are complete."""

    def __init__(self, cursor: Cursor, single: bool) -> None:
        """Prepare for one answer. single: the caller wants one line, the head of a block too."""
        self.hold = 0
        self.over = False
        self._cursor = cursor
        self._lexer = cursor.lexer()
        self._line = cursor.before
        self._last = ""  # the character read last
        self._first = True
        self._filled = False
        # The head of a block that somebody is writing may stand alone, a new one may not.
        self._head_stands = single or not cursor.blank
        self._pending = False  # is a line held back that does not stand by itself
        self._given_up = False

    def read(self, character: str) -> None:
        """Take the next character."""
        if self._given_up:
            return
        self._lexer.step(character)
        self.hold += 1
        if character == "\n":
            self._end_line()
        else:
            self._line += character
            self._last = character
            self._filled = self._filled or not character.isspace()
        if self.hold > _MOST:
            self.hold, self._given_up = 0, True

    def finish(self, whole: bool) -> int:
        """Cut back to the last line that stands by itself."""
        if self._given_up or not self._filled:
            return 0
        if self._first and not whole:
            return 0
        if self._line.strip():
            return 0 if whole and self._stands() and self._fits() else self.hold
        return self.hold if self._pending or not whole else 0

    def _end_line(self) -> None:
        if self._line.strip() and self._filled:
            self._pending = not self._stands()
            self._first = False
        if self._filled and not self._pending:
            self.hold = 0
        self._line = ""

    def _stands(self) -> bool:
        """Tell whether what was read ends with a complete line."""
        lexer, line, cursor = self._lexer, self._line, self._cursor
        if len(lexer.open) > len(cursor.owed) or line.rstrip().endswith("\\"):
            return False
        if lexer.quote and lexer.quote not in (cursor.quote, cursor.owed_quote):
            return False
        if cursor.after.strip():
            return True
        if line.lstrip().startswith("@"):
            return False
        head = cursor.opens_block(line) and not cursor.has_body(line)
        return not head or (self._first and self._head_stands)

    def _fits(self) -> bool:
        """Tell whether the answer goes together with the rest of the line."""
        lexer, cursor = self._lexer, self._cursor
        if len(lexer.open) < len(cursor.owed):
            return False
        if cursor.owed_quote and lexer.quote != cursor.owed_quote:
            return False
        return not (self._last in _ENDS and not lexer.quote and _LETTER.match(cursor.after[:1]))
