"""The made-up probabilities of the scripted engine, and what a request may change about them.

At every place the id that the script has next is the likeliest; how likely another one is depends
on the id alone. They do not add up to one. Read `ScriptedScores.choose` first.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter

from server.engines.line import Ticket
from tabwright.request import Ranking, SamplingParams, ScoredPrompt

_WRITTEN = -0.5
_LIKELIEST_OTHER = -1.5
_REPORTING_ONLY = {"alternatives", "prompt_logprobs"}


def changes(sampling: SamplingParams) -> bool:
    """The request is not content with what the script says."""
    return bool(sampling.asked() - _REPORTING_ONLY)


class ScriptedScores:
    """What one request is told about its tokens."""

    def __init__(self, ticket: Ticket, vocab_size: int) -> None:
        """Begin a request."""
        self._prompt = tuple(ticket.prompt)
        self._sampling = ticket.sampling
        self._vocab = range(vocab_size)
        self._counts: Counter[int] = Counter()
        self._bias = dict(ticket.sampling.logit_bias)
        self._random = random.Random(ticket.sampling.seed)
        self._changes = changes(ticket.sampling)

    def choose(self, written: int) -> int:
        """The next id: the script's, unless the request changes the probabilities."""
        chosen = written
        if self._changes:
            changed = [self._changed(i, self.logprob(i, written)) for i in self._vocab]
            best = max(changed)
            if temperature := self._sampling.temperature:
                weights = [math.exp((value - best) / temperature) for value in changed]
                kept = [w if w >= self._sampling.min_p else 0 for w in weights]
                chosen = self._random.choices(self._vocab, kept)[0]
            else:
                chosen = changed.index(best)
        self._counts[chosen] += 1
        return chosen

    def logprob(self, token_id: int, written: int) -> float:
        """How likely an id is where the script has `written`."""
        return _WRITTEN if token_id == written else _LIKELIEST_OTHER - token_id % 8 / 4

    def alternatives(self, written: int) -> tuple[Ranking, ...]:
        """The ranking of one place, if the request asks for rankings."""
        count = self._sampling.alternatives
        if not count:
            return ()
        rows = ((i, self.logprob(i, written)) for i in self._vocab)
        return (tuple(heapq.nlargest(count, rows, key=lambda row: (row[1], -row[0]))),)

    def prompt(self) -> ScoredPrompt | None:
        """The prompt's scores, if asked for: every token of it is the likeliest at its place."""
        if not self._sampling.prompt_logprobs:
            return None
        rest = self._prompt[1:]
        ranked = tuple(ranking for i in rest for ranking in self.alternatives(i))
        return ScoredPrompt(
            self._prompt, (None, *(_WRITTEN for _ in rest)), ((), *ranked) if ranked else ()
        )

    def _changed(self, token_id: int, logprob: float) -> float:
        sampling = self._sampling
        count = self._counts[token_id]
        if sampling.repetition_penalty != 1 and (count or token_id in self._prompt):
            logprob *= sampling.repetition_penalty  # it is negative
        logprob -= sampling.presence_penalty * (count > 0) + sampling.frequency_penalty * count
        return logprob + self._bias.get(token_id, 0)
