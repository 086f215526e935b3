"""The end of an answer that repeats the start of the suffix.

    add(|, b)            the model: a, b)          shown: a

What repeats the rest of the cursor's line, or the next line, ends the answer with the word after;
a shorter repetition is cut when the answer has ended, and only between words. A bracket is never
cut without the one that it closes.
"""

from __future__ import annotations

import re

from server.cursor import Cursor
from server.lexer import CLOSER_OF, CLOSERS

_LONGEST = 200
_TELLING = 3  # letters and digits that a repetition needs to end the answer before it does itself
_LONG = 8  # and to do so without the signs after them
_LETTER = re.compile(r"\w")


class Overlap:
    """Holds back what the suffix starts with too."""

    def __init__(self, cursor: Cursor) -> None:
        """Prepare for one answer."""
        self.hold = 0
        self.over = False
        self._start = cursor.suffix[:_LONGEST]
        self._fail = _failures(self._start)
        self._enough = _enough(self._start)
        self._before = cursor.before[-1:]  # the character before what is held
        self._recent = ""

    def read(self, character: str) -> None:
        """Take the next character."""
        start, fail, state = self._start, self._fail, self.hold
        ended = self._enough and state >= self._enough and not _LETTER.match(character)
        if ended and self._between_words(state):
            self.hold, self.over = state + 1, True
            return
        while state and (state == len(start) or start[state] != character):
            state = fail[state]
        if start and start[state] == character:
            state += 1
        self._recent = (self._recent + character)[-_LONGEST - 1 :]
        self.hold = state

    def finish(self, whole: bool) -> int:
        """Cut the longest repetition that stands between words."""
        del whole
        state = self.hold
        while state and not (self._between_words(state) and _balanced(self._start[:state])):
            state = self._fail[state]
        return state

    def _between_words(self, state: int) -> bool:
        repeated = self._start[:state]
        before = self._recent[:-state][-1:] or self._before
        return not (_joined(before, repeated[0]) or _joined(repeated[-1], self._start[state:][:1]))


def _enough(start: str) -> int:
    """Length of the first line with text in it; without the signs at its end if it is long, and 0
    if it tells too little."""
    found = re.match(r"\s*\S[^\r\n]*", start)
    letters = len(_LETTER.findall(found[0])) if found else 0
    if not found or len(found[0]) >= _LONGEST or letters < _TELLING:
        return 0
    line = re.sub(r"\W+$", "", found[0]) if letters >= _LONG else found[0]
    return len(line) if _balanced(line) else 0


def _joined(left: str, right: str) -> bool:
    return bool(_LETTER.match(left) and _LETTER.match(right))


def _balanced(text: str) -> bool:
    """Tell whether no bracket in `text` closes one that stands before it."""
    waiting: list[str] = []
    for character in text:
        if character in CLOSER_OF:
            waiting.append(CLOSER_OF[character])
        elif character in CLOSERS and (not waiting or waiting.pop() != character):
            return False
    return True


def _failures(start: str) -> list[int]:
    """For each length of a match, the length of the next shorter one (Knuth, Morris, Pratt)."""
    fail = [0] * (len(start) + 1)
    state = 0
    for place in range(1, len(start)):
        while state and start[state] != start[place]:
            state = fail[state]
        if start[state] == start[place]:
            state += 1
        fail[place + 1] = state
    return fail
