"""Which of several candidates for one prompt are shown: those the model finds likeliest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from server.choices import Choice
from tabwright.request import Suggestion


def best_of(
    gathered: Mapping[Choice, Sequence[Suggestion]], candidates: int, n: int
) -> list[Choice]:
    """The choices to show: for each prompt the best `n` of its `candidates`, the best one first."""
    by_index = {index: choice for choice in gathered for index in choice.indices}
    choices = [by_index[index] for index in sorted(by_index)]
    if n == candidates:
        return choices
    shown: list[Choice] = []
    for at in range(0, len(choices), candidates):
        own = choices[at : at + candidates]
        shown += sorted(own, key=lambda choice: mean_logprob(gathered[choice]), reverse=True)[:n]
    return shown


def mean_logprob(pieces: Sequence[Suggestion]) -> float:
    """Log probability per token; an answer without tokens is worse than every other."""
    values = [value for piece in pieces for value in piece.logprobs]
    return sum(values) / len(values) if values else -math.inf
