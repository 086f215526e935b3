"""A line of the answer that stands below the cursor already.

The answer ends before a line that equals, blanks at its ends aside, one of the next lines of the
file; the nearest may be short, the ones after it must be telling.
"""

from __future__ import annotations

import re

from server.cursor import Cursor

_LETTER = re.compile(r"\w")
_LETTERS = (2, 8, 8)  # letters and digits that the first, second and third line must have


class NextLine:
    """Holds back a line while it may become one of those below."""

    def __init__(self, cursor: Cursor) -> None:
        """Prepare for one answer."""
        self.hold = 0
        self.over = False
        self._known = tuple(
            line.strip()
            for line, letters in zip(cursor.below, _LETTERS, strict=False)
            if len(_LETTER.findall(line)) >= letters
        )
        self._line = cursor.before.lstrip()
        self._possible = self._may_become()

    def read(self, character: str) -> None:
        """Take the next character."""
        self.hold += 1
        if character == "\n":
            if self._possible and self._line.rstrip() in self._known:
                self.over = True
                return
            # The line break belongs to the next line: it goes with it.
            self.hold, self._line, self._possible = 1, "", bool(self._known)
        elif self._possible:
            self._line = (self._line + character).lstrip()
            self._possible = self._may_become()
        if not self._possible:
            self.hold = 0

    def finish(self, whole: bool) -> int:
        """Cut a last line that is complete and known."""
        del whole
        return self.hold if self._possible and self._line.rstrip() in self._known else 0

    def _may_become(self) -> bool:
        line = self._line
        return any(known.startswith(line.rstrip()) for known in self._known)
