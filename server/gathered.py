"""What has come of each choice of a request: its text, how it ended, how sure the model was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from server.choices import Choice
from tabwright.request import Finish, Suggestion


@dataclass(slots=True)
class Heard:
    """What has come of one choice."""

    pieces: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    @property
    def confidence(self) -> float | None:
        """The geometric mean of the probabilities of its tokens, where they are known."""
        if not self.logprobs:
            return None
        return round(math.exp(sum(self.logprobs) / len(self.logprobs)), 4)


class Gathered:
    """Everything that was answered, by choice."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        """Expect pieces of these choices."""
        self._heard = {choice: Heard() for choice in choices}

    def hear(self, choice: Choice, piece: Suggestion) -> None:
        """Take the next piece of a choice."""
        heard = self._heard[choice]
        heard.pieces.append(piece.text)
        heard.logprobs += piece.logprobs
        heard.finish = piece.finish

    def answers(self) -> Iterable[tuple[Choice, Heard]]:
        """The choices in their order."""
        return self._heard.items()
