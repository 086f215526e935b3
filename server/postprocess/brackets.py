"""Brackets and quotes against the suffix: what stands after the cursor already is not closed again.

    total = len(|)          the model: values) + 1)      shown: values

A closing bracket that nothing in the answer opened ends it, unless one opened before the cursor is
still to be closed. So does the end of the string that the cursor is in, where the suffix has one,
and a closing bracket or quote whose twin stands after the cursor while its opening one does not.
"""

from __future__ import annotations

from server.cursor import Cursor
from server.lexer import CLOSERS


class Brackets:
    """Ends the answer at the first bracket or quote too many."""

    def __init__(self, cursor: Cursor) -> None:
        """Prepare for one answer."""
        self.hold = 0
        self.over = False
        self._lexer = cursor.lexer()
        self._spare = list(cursor.spare)
        self._owed = cursor.owed
        self._owed_quote = cursor.owed_quote
        self._quote = cursor.quote if cursor.quoted else ""

    def read(self, character: str) -> None:
        """Take the next character."""
        lexer = self._lexer
        if self._quote:
            self._in_string(character)
            return
        if self._closes_what_is_owed(character):
            self.hold, self.over = 1, True
            return
        lexer.step(character)
        if self._owed_quote and lexer.quote == self._owed_quote:
            self._quote = lexer.quote
        if lexer.surplus:
            closer = lexer.surplus.pop().closer
            if self._spare and self._spare[0] == closer:
                del self._spare[0]
            else:
                self.hold, self.over = 1, True

    def finish(self, whole: bool) -> int:
        """Cut nothing: a quote that was held back is one of fewer than three."""
        del whole
        return 0

    def _closes_what_is_owed(self, character: str) -> bool:
        lexer = self._lexer
        return (
            character in CLOSERS
            and character in self._owed
            and 0 < len(lexer.open) <= len(self._owed)
            and lexer.open[-1].closer == character
            and not (lexer.quote or lexer.comment)
        )

    def _in_string(self, character: str) -> None:
        quote = self._quote
        self._lexer.step(character)
        if not self._lexer.quote:
            # A string of one line also ends with its line, which is for others to judge.
            self._quote = ""
            if character == quote[-1]:
                self.hold, self.over = len(quote), True
            return
        self.hold = self.hold + 1 if len(quote) > 1 and character == quote[0] else 0
