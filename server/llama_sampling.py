"""Sampling options in llama.cpp's words, which Ollama shares, as far as they map exactly.

llama.cpp's penalties look at the last `repeat_last_n` tokens, of prompt and answer alike. Ours look
at all of them (repetition) or at the answer alone (presence, frequency). So `repeat_penalty` is
served where the window is everything, and what would be served differently is refused.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, StrictInt

from server.wire import Number
from tabwright.errors import InvalidRequest
from tabwright.request import MOST_REPETITION

_EVERYTHING = -1


class LlamaSampling(BaseModel):
    """Options that steer the choice of tokens. samplers: where given, only those named act."""

    min_p: Number | None = None
    repeat_penalty: Number | None = None
    repeat_last_n: StrictInt | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    samplers: Any = None

    def repetition(self) -> float:
        """The repetition penalty; 1 for none.

        Raises:
            InvalidRequest: a penalty that would not be what the client means.
        """
        if not self._acts("penalties"):
            return 1.0
        for name in ("presence_penalty", "frequency_penalty"):
            if value := getattr(self, name):
                fix = "here it would not count the prompt; leave it out"
                raise InvalidRequest(name, value, fix)
        if self.repeat_penalty is None or self.repeat_penalty == 1 or self.repeat_last_n == 0:
            return 1.0
        if self.repeat_last_n != _EVERYTHING:
            raise InvalidRequest(
                "repeat_penalty", self.repeat_penalty, "give repeat_last_n -1 too, or leave it out"
            )
        if not 0 < self.repeat_penalty <= MOST_REPETITION:
            fix = f"give a number above 0 and up to {MOST_REPETITION}"
            raise InvalidRequest("repeat_penalty", self.repeat_penalty, fix)
        return self.repeat_penalty

    def early_min_p(self, temperature: float) -> float:
        """What does after temperature as `min_p` does before it, where llama.cpp has it.

        Raises:
            InvalidRequest: it is no share.
        """
        given = self.min_p or 0.0
        if not 0 <= given <= 1:
            raise InvalidRequest("min_p", given, "give a number from 0 to 1")
        if temperature == 0 or not self._acts("min_p"):
            return 0.0
        return float(given ** (1 / temperature))

    def _acts(self, sampler: str) -> bool:
        return not isinstance(self.samplers, list) or sampler in self.samplers
