"""Pick tokens from logits, in numpy, for requests that an engine library's sampler cannot serve.

What each field does and in which order is said in `SamplingParams`. Knows no engine and no model.
Read `TokenChooser.choose` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from server.engines.cpu_messages import Add

    Logits = np.ndarray[tuple[int, ...], np.dtype[np.floating]]

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


def log_total(rows: Logits) -> Logits:
    """What to subtract from each row of logits to get natural-log probabilities."""
    top = rows.max(axis=-1)
    total: Logits = top + np.log(np.exp(rows - top[..., None]).sum(axis=-1, dtype=np.float64))
    return total


def rankings(rows: Logits, totals: Logits, count: int) -> list[list[tuple[int, float]]]:
    """The `count` likeliest ids of each row, best first, of equals the lower id first."""
    found: list[list[tuple[int, float]]] = [[] for _ in rows]
    left = np.array(rows)
    places = np.arange(len(rows))
    for _ in range(min(count, rows.shape[-1])):
        best = left.argmax(axis=-1)
        logprobs = left[places, best] - totals
        for row, token_id, logprob in zip(found, best.tolist(), logprobs.tolist(), strict=True):
            row.append((token_id, min(logprob, 0.0)))
        left[places, best] = -np.inf
    return found
