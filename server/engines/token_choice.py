"""Pick tokens from logits, in numpy, for requests that an engine library's sampler cannot serve.

What each field does and in which order is said in `SamplingParams`. Knows no engine and no model.
Read `TokenChooser.choose` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from server.engines.cpu_messages import Add

    Logits = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

GREEDY_BELOW = 1e-4  # dividing by less makes infinities of logits


class TokenChooser:
    """Chooses the tokens of one request."""

    def __init__(self, add: Add, vocab_size: int) -> None:
        """Begin a request; its values have been checked."""
        self._add = add
        self._random = np.random.default_rng(add.seed)
        self._counts = np.zeros(vocab_size)
        self._seen = np.zeros(vocab_size, dtype=bool)
        self._seen[add.prompt] = True
        self._bias = np.zeros(vocab_size)
        for token_id, bias in add.logit_bias:
            self._bias[token_id] += bias

    def choose(self, logits: Logits) -> int:
        """Pick the next token and remember it."""
        add = self._add
        changed = self._changed(logits)
        if add.temperature < GREEDY_BELOW:
            chosen = int(changed.argmax())
        else:
            chances = _likely(changed / add.temperature, add.top_k, add.top_p, add.min_p)
            ends = np.cumsum(chances)
            place = self._random.random() * ends[-1]
            chosen = int(np.searchsorted(ends, place, side="right"))
        self._counts[chosen] += 1
        self._seen[chosen] = True
        return chosen

    def _changed(self, logits: Logits) -> Logits:
        add = self._add
        if add.repetition_penalty != 1:
            factor = add.repetition_penalty
            repeated = np.where(logits > 0, logits / factor, logits * factor)
            logits = np.where(self._seen, repeated, logits)
        penalty = add.presence_penalty * (self._counts > 0) + add.frequency_penalty * self._counts
        return logits - penalty + self._bias


def _likely(logits: Logits, top_k: int, top_p: float, min_p: float) -> Logits:
    """Weights of all ids, 0 for those that the three limits drop."""
    weights = np.exp(logits - logits.max())
    if 0 < top_k < len(weights):
        order = np.argsort(-weights, kind="stable")
        weights[order[top_k:]] = 0
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= top_p * weights.sum()]] = 0
    weights[weights < min_p] = 0  # the likeliest has the weight 1
    kept: Logits = weights
    return kept


def logprobs_of(logits: Logits) -> Logits:
    """Natural-log probabilities, along the last axis."""
    top = logits.max(axis=-1, keepdims=True)
    shifted = logits - top
    normalised: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def ranking(logprobs: Logits, count: int) -> list[tuple[int, float]]:
    """The `count` likeliest ids of one place, best first, of equals the lower id first."""
    if count == 0:
        return []
    edge = np.partition(logprobs, -min(count, len(logprobs)))[-min(count, len(logprobs))]
    candidates = np.flatnonzero(logprobs >= edge)
    best = candidates[np.argsort(-logprobs[candidates], kind="stable")][:count]
    return [(int(i), min(float(logprobs[i]), 0.0)) for i in best]


def rankings(logprobs: Logits, count: int) -> list[Sequence[tuple[int, float]]]:
    """A ranking for each row."""
    return [ranking(row, count) for row in logprobs]
