"""How far an answer may go: the rest of a line, one statement, or a block.

    something stands after the cursor on its line    to the end of the line
    the line before the cursor opens a block          the block, unless its body is there already
    the cursor is on an empty line                    the block (see `scope` for where it ends)
    anything else                                     the statement: its line, the lines of brackets
                                                      it opens, and the block it opens if it does

The wish for single or multi takes the place of this table. A long run of blanks ends any answer.
"""

from __future__ import annotations

from server.cursor import Cursor

_MOST_BLANKS = 240
_CLOSING = frozenset(")]}>;,:'\"` \t")


class Extent:
    """Ends the answer at the line break where what was decided is complete."""

    def __init__(self, cursor: Cursor, single: bool | None) -> None:
        """Prepare for one answer. single: what the caller wishes; None: decide."""
        self.hold = 0
        self.over = False
        self._cursor = cursor
        self._lexer = cursor.lexer()
        self._line = cursor.before
        self._filled = False
        self._blanks = 0
        self._one_line = single is True or (single is None and _in_mid_line(cursor))
        self._block = single is False or (single is None and _starts_block(cursor))
        self._unclosed = sum(closer in ")]" for closer in cursor.spare)

    def read(self, character: str) -> None:
        """Take the next character."""
        self._lexer.step(character)
        self._blanks = self._blanks + 1 if character.isspace() else 0
        if self._blanks > _MOST_BLANKS:
            self.hold, self.over = 1, True
        elif character == "\n":
            self.hold += 1
            if self._complete():
                self.over = True
            else:
                self.hold, self._line = 0, ""
        else:
            self.hold = 1 if character == "\r" else 0
            self._line += character
            self._filled = self._filled or not character.isspace()

    def finish(self, whole: bool) -> int:
        """Cut the half of a line break."""
        del whole
        return self.hold

    def _complete(self) -> bool:
        if self._one_line:
            return True
        if not self._filled or self._block:
            return False
        lexer, line = self._lexer, self._line
        if lexer.open or lexer.in_long_string or len(lexer.surplus) < self._unclosed:
            return False
        if line.rstrip().endswith("\\") or line.lstrip().startswith("@"):
            return False
        if self._cursor.opens_block(line) and not self._cursor.has_body(line):
            self._block = True
            return False
        return True


def _in_mid_line(cursor: Cursor) -> bool:
    if not cursor.after.strip():
        return False
    # `{|}`: the editor closed the bracket, the block is still to be written.
    closed = cursor.before.rstrip().endswith("{") and cursor.after.lstrip().startswith("}")
    return not (closed and all(character in _CLOSING for character in cursor.after))


def _starts_block(cursor: Cursor) -> bool:
    if cursor.blank:
        return True
    if cursor.in_comment:
        return False
    return cursor.opens_block(cursor.before) and not cursor.has_body(cursor.before)
