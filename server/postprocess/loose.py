"""Loose ends: a later line of an answer that was not finished is not shown.

When the length limit falls into a line, or the last lines open a bracket, a string or a block that
nothing closes or fills, the answer ends after the last line that stands by itself. The first line
is always shown as far as it goes.
"""

from __future__ import annotations

from server.cursor import Cursor

_MOST = 1000  # characters held back; a longer statement is shown as it is


class LooseEnds:
    """Holds back lines until they are complete."""

    def __init__(self, cursor: Cursor) -> None:
        """Prepare for one answer."""
        self.hold = 0
        self.over = False
        self._cursor = cursor
        self._lexer = cursor.lexer()
        self._line = cursor.before
        self._filled = False
        self._first = True
        self._pending = False  # is a line held back that does not stand by itself
        self._given_up = False

    def read(self, character: str) -> None:
        """Take the next character."""
        self._lexer.step(character)
        if self._given_up:
            return
        if not self._first:
            self.hold += 1
        if character == "\n":
            if self._filled:
                self._end_line()
            self._line = ""
        else:
            self._line += character
            self._filled = self._filled or not character.isspace()
        if self.hold > _MOST:
            self.hold, self._given_up = 0, True

    def finish(self, whole: bool) -> int:
        """Cut back to the last line that stands by itself."""
        if self._first or self._given_up:
            return 0
        stands = self._stands() if self._line.strip() else not self._pending
        return 0 if whole and stands else self.hold

    def _end_line(self) -> None:
        if self._first:
            self._first = False
        elif self._line.strip():
            self._pending = not self._stands()
        if not self._pending:
            self.hold = 0

    def _stands(self) -> bool:
        lexer, line = self._lexer, self._line
        if lexer.open or lexer.in_long_string or line.rstrip().endswith("\\"):
            return False
        if line.lstrip().startswith("@"):
            return False
        return not self._cursor.opens_block(line)
