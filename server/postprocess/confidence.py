"""Nothing is shown that the model itself is not sure of.

The measure is the geometric mean of the probabilities of the tokens up to the end of the first line
with text. Until then everything is held back; below the threshold the answer is empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST = 1000  # characters of a first line after which it is judged as it is


class Confidence:
    """Holds back the first line until it is known how sure the model was."""

    def __init__(self, least: float) -> None:
        """Prepare for one answer. least: the smallest mean that is shown, above 0 and up to 1."""
        self.hold = 0
        self.over = False
        self._least = math.log(least)
        self._sum = 0.0
        self._count = 0
        self._decided = False
        self._filled = False

    def weigh(self, logprobs: Sequence[float]) -> None:
        """Take the log probabilities of tokens before their text is read."""
        if not self._decided:
            self._sum += sum(logprobs)
            self._count += len(logprobs)

    def read(self, character: str) -> None:
        """Take the next character."""
        if self._decided:
            return
        self.hold += 1
        if self.hold > _MOST or (character == "\n" and self._filled):
            self._decide()
        elif not character.isspace():
            self._filled = True

    def finish(self, whole: bool) -> int:
        """Decide by what there is."""
        del whole
        if not self._decided:
            self._decide()
        return self.hold

    def _decide(self) -> None:
        self._decided = True
        if self._count and self._sum / self._count < self._least:
            self.over = True
        else:
            self.hold = 0
