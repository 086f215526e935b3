"""A model that goes round in circles.

Lines: the answer ends before the second round of one to three lines, counting the lines above the
cursor. Within a line: it ends after the first of at least four equal runs of words that together
have `_CIRCLE` characters.
"""

from __future__ import annotations

import re

from server.cursor import Cursor

_LINES = 3
_WORDS = 8  # words, and runs of other characters, in one round
_ROUNDS = 4
_CIRCLE = 32
_LONGEST_WORD = 24
_LETTER = re.compile(r"\w")
_TELLING = 4  # letters and digits that repeated lines must have


class Repetition:
    """Holds back what may be a further round."""

    def __init__(self, cursor: Cursor) -> None:
        """Prepare for one answer."""
        self.hold = 0
        self.over = False
        self._lines = _Lines(cursor)
        self._words = _Words()

    def read(self, character: str) -> None:
        """Take the next character."""
        lines, words = self._lines, self._words
        lines.read(character)
        words.read(character)
        self.over = lines.over or words.over
        self.hold = max(lines.hold if lines.over or not words.over else 0, words.hold)

    def finish(self, whole: bool) -> int:
        """Cut a last line that is a further round."""
        del whole
        return self._lines.finish()


class _Lines:
    def __init__(self, cursor: Cursor) -> None:
        self.hold = 0
        self.over = False
        self._complete = [(line.rstrip(), 0) for line in cursor.above]  # and characters of ours
        self._before = len(cursor.before)
        self._line = cursor.before
        self._matched = [0] * (_LINES + 1)
        self._rounds = self._going_on()

    def read(self, character: str) -> None:
        if character == "\n":
            self._end_line()
            return
        self._line += character
        if self._rounds:
            self.hold = self._held()

    def finish(self) -> int:
        if self._line.strip():
            self._end_line()
            return self.hold - 1 if self.over else 0  # the line has no end that could be cut
        return 0

    def _end_line(self) -> None:
        line = self._line.rstrip()
        complete = self._complete
        for back in range(1, _LINES + 1):
            same = back <= len(complete) and complete[-back][0] == line
            self._matched[back] = self._matched[back] + 1 if same else 0
        complete.append((line, len(self._line) - self._before + 1))
        self._line, self._before = "", 0
        for back in range(1, _LINES + 1):
            if self._matched[back] >= back and self._tells(back):
                self.hold, self.over = self._length(back), True
                return
        self._rounds = self._going_on()
        self.hold = self._held()

    def _tells(self, count: int) -> bool:
        text = "".join(line for line, _ in self._complete[-count:])
        return len(_LETTER.findall(text)) >= _TELLING

    def _length(self, count: int) -> int:
        return sum(length for _, length in self._complete[-count:]) if count else 0

    def _going_on(self) -> list[tuple[str, int]]:
        """Rounds that the line that begins now may belong to: what it has to be then, and how many
        characters of ours before it are of the same round."""
        return [
            (self._complete[-back][0], self._length(min(self._matched[back], back - 1)))
            for back in range(1, min(_LINES, len(self._complete)) + 1)
        ]

    def _held(self) -> int:
        """Characters of the longest round that may be going on."""
        line = self._line.rstrip()
        self._rounds = [known for known in self._rounds if known[0].startswith(line)]
        own = len(self._line) - self._before
        return max((own + before for _, before in self._rounds), default=0)


class _Words:
    """Runs of words that repeat with a period of one to `_WORDS`, within a line."""

    def __init__(self) -> None:
        self.hold = 0
        self.over = False
        self._words: list[str] = []
        self._runs = [0] * (_WORDS + 1)
        self._word = ""
        self._kind = 0

    def read(self, character: str) -> None:
        if character == "\n":
            self._words, self._runs = [], [0] * (_WORDS + 1)
            self._word, self._kind, self.hold = "", 0, 0
            return
        kind = 1 if character.isalnum() or character == "_" else 2
        if kind != self._kind or len(self._word) >= _LONGEST_WORD:
            self._end_word()
            self._kind = kind
            if self.over:
                # The character that ended the word is cut with it.
                self.hold += 1
                return
        self._word += character
        self.hold = max(self._runs) + len(self._word)

    def _end_word(self) -> None:
        word, words, runs = self._word, self._words, self._runs
        if not word:
            return
        self._word = ""
        if word not in words[-_WORDS:]:
            runs[:] = [0] * (_WORDS + 1)
            words.append(word)
            return
        for period in range(1, _WORDS + 1):
            if period <= len(words) and words[-period] == word:
                runs[period] += len(word)
            else:
                runs[period] = 0
        words.append(word)
        for period in range(1, _WORDS + 1):
            if runs[period] < _CIRCLE:
                continue
            if runs[period] < (_ROUNDS - 1) * sum(map(len, words[-period:])):
                continue
            if _LETTER.search("".join(words[-period:])):
                self.hold, self.over = runs[period], True
                return
            runs[period] = 0  # a ruler, `----`
