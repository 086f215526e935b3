"""Where a block ends, by indentation: with the block that the cursor is in.

On an empty line the block is what is indented like the first line of the answer; a blank line
ends it, unless something deeper follows. On a line with text the block is what is deeper than that
line. A line at its level that closes what it opened still belongs to it (`}`, `end`, `else`). Lines
inside brackets or strings that the answer itself opened are not judged.
"""

from __future__ import annotations

import re

from server.cursor import Cursor, width

_CONTINUES = frozenset(
    [
        "else",
        "elif",
        "elseif",
        "elsif",
        "except",
        "finally",
        "catch",
        "rescue",
        "ensure",
        "case",
        "default",
        "when",
    ]
)
_CLOSES = re.compile(r"(?:end\w*|fi|done|esac|END)\b", re.ASCII)
_WORD = re.compile(r"\w+")


class Scope:
    """Ends the answer before the first line that is outside."""

    def __init__(self, cursor: Cursor, wide: bool) -> None:
        """Prepare for one answer. wide: lines at the level of the cursor's line are inside too."""
        self.hold = 0
        self.over = False
        self._cursor = cursor
        self._lexer = cursor.lexer()
        self._inside = cursor.blank or wide
        self._level: int | None = None if cursor.blank else cursor.indent
        self._line = self._ended = cursor.before
        self._judged = not cursor.blank
        self._filled = False  # has the answer anything but blanks
        self._last = False  # is this line the last one

    def read(self, character: str) -> None:
        """Take the next character."""
        self._lexer.step(character)
        if character == "\n":
            self._end_line()
            return
        self._line += character
        if self._judged:
            self._filled = self._filled or not character.isspace()
            return
        self.hold += 1
        if not character.isspace():
            self._filled = True
            self._judge()

    def finish(self, whole: bool) -> int:
        """Cut a line that began outside, as far as one can tell."""
        del whole
        if not self._judged and self._line.strip():
            self._judge(whole=True)
        return self.hold if self.over else 0

    def _end_line(self) -> None:
        blank = not self._line.strip()
        self.hold += 1
        if self._lexer.open or self._lexer.in_long_string:
            self._judged, self.hold, self._line = True, 0, ""
            return
        if not blank and not self._judged:
            self._judge(whole=True)
            if self.over:
                return
            self.hold = 1
        elif not blank:
            self.hold = 1
        if self._last and not blank:
            self.over = True
            return
        if not blank:
            self._ended = self._line
        elif self._filled and self._inside and self._level is not None:
            self._end_paragraph()
        self._line, self._judged = "", False

    def _end_paragraph(self) -> None:
        """A blank line at the level of the block ends it."""
        last = self._ended
        if width(last) <= (self._level or 0) and not self._cursor.opens_block(last):
            self.over = True

    def _judge(self, whole: bool = False) -> None:
        """Decide whether the line that has just begun is inside; a word must be whole for that."""
        line = self._line
        column = width(line)
        if self._level is None:
            self._level = max(column, self._cursor.indent)
        if column > self._level or (self._inside and column == self._level):
            self._settle()
            return
        text = line.strip()
        if text[0] in ")]}":
            # Whether one is still to be closed, `brackets` knows.
            self._settle(last=True)
            return
        word = _WORD.match(text)
        if word and word.end() == len(text) and not whole:
            return
        if column == self._level and word and word[0] in _CONTINUES:
            self._settle()
        elif column == self._level and word and _CLOSES.fullmatch(word[0]):
            self._settle(last=True)
        else:
            self.over = True

    def _settle(self, last: bool = False) -> None:
        self._judged, self.hold = True, 0
        self._last = last
