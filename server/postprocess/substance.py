"""Answers without substance: only blanks, or only comments where code was asked for, show nothing.

Blanks at the end of an answer are cut too when nothing else stands on the cursor's line.
"""

from __future__ import annotations

from server.cursor import Cursor

_MOST = 1000  # characters of comment held back; who writes more means it


class Substance:
    """Holds back everything until there is code."""

    def __init__(self, cursor: Cursor) -> None:
        """Prepare for one answer."""
        self.hold = 0
        self.over = False
        self._lexer = cursor.lexer()
        self._found = False
        self._trims = not cursor.after.strip()
        self._judges = not (cursor.in_comment or cursor.quote)
        self._line_comment = cursor.language.line_comment or ""
        self._opening = (cursor.language.block_comment or ("", ""))[0]
        self._code = ""

    def read(self, character: str) -> None:
        """Take the next character."""
        if self._found:
            self.hold = self.hold + 1 if self._trims and character.isspace() else 0
            return
        self.hold += 1
        if not self._judges:
            self._found = not character.isspace()
        else:
            self._look(character)
        if self.hold > _MOST:
            self._found = True
        if self._found:
            self.hold = 0

    def finish(self, whole: bool) -> int:
        """Cut what has no substance."""
        del whole
        return 0 if not self._found and self._code else self.hold

    def _look(self, character: str) -> None:
        commented = bool(self._lexer.comment)
        self._lexer.step(character)
        if self._lexer.comment:
            self._code = ""
        elif not commented and not character.isspace():
            self._code += character
        if self._code and not self._may_open(self._code, character):
            self._found = True

    def _may_open(self, code: str, character: str) -> bool:
        marks = (self._line_comment, self._opening)
        return not character.isspace() and any(mark.startswith(code) for mark in marks if mark)
