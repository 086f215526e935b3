"""A model that goes round in circles.

Lines: the answer ends before the second round of one to three lines, counting the lines above the
cursor. Within a line: it ends after the first of at least four equal runs of words that together
have `_CIRCLE` characters.
"""

from __future__ import annotations

import re

from server.cursor import Cursor

_LINES = 3
_WORDS = 8  # words and runs of other characters in one round
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

    def read(self, character: str) -> None:
        if character == "\n":
            self._end_line()
            return
        self._line += character
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
        self.hold = self._held()

    def _tells(self, count: int) -> bool:
        text = "".join(line for line, _ in self._complete[-count:])
        return len(_LETTER.findall(text)) >= _TELLING

    def _length(self, count: int) -> int:
        return sum(length for _, length in self._complete[-count:]) if count else 0

    def _held(self) -> int:
        """Characters of the longest round that may be going on."""
        longest = 0
        own = len(self._line) - self._before
        for back in range(1, _LINES + 1):
            if back > len(self._complete):
                break
            matched = min(self._matched[back], back - 1)
            if self._complete[-back][0].startswith(self._line.rstrip()):
                longest = max(longest, own + self._length(matched))
        return longest


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
        kind = 1 if character.isalnum() or character == "_" else 2 if character.isspace() else 3
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
        for period in range(1, _WORDS + 1):
            if period <= len(words) and words[-period] == word:
                runs[period] += len(word)
            else:
                runs[period] = 0
        words.append(word)
        del words[: -2 * _WORDS]
        self._word = ""
        for period in range(1, _WORDS + 1):
            unit = sum(map(len, words[-period:]))
            if runs[period] < max(_CIRCLE, (_ROUNDS - 1) * unit):
                continue
            if _LETTER.search("".join(words[-period:])):
                self.hold, self.over = runs[period], True
                return
            runs[period] = 0  # a ruler, `----`
