"""An interpolated modified Kneser-Ney model over token ids: what any trained model has to beat.

Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling".

The n-grams of each order are one sorted column of numbers: the place of the context among the
grams one shorter, times the size of the vocabulary, plus the last id. So a gram of any order is a
64-bit number, and a column of ten million takes 80 MB. The highest order counts occurrences, lower
ones count the different ids on the left. Each document begins with as many beginnings as the order
needs and ends with the end of text. Read `KneserNey.of`, then `KneserNey.nats`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# What is taken off counts of 1, 2 and 3 or more if the text is too small to tell.
_FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True, slots=True)
class Level:
    """The grams of one order. less: what is discounted from each count.

    total, left_over: of each context, which is a gram of the order below: the sum of its counts,
    and the share of probability that is left to the order below.
    """

    keys: Numbers
    counts: Numbers
    less: Floats
    total: Floats
    left_over: Floats


@dataclass(frozen=True, slots=True)
class KneserNey:
    """One model. begin: the id, beyond the vocabulary, that stands before a document."""

    levels: tuple[Level, ...]
    vocabulary: int

    @property
    def order(self) -> int:
        """Ids that a prediction looks at, the predicted one included."""
        return len(self.levels)

    @classmethod
    def of(cls, documents: Iterable[Sequence[int]], vocabulary: int, order: int) -> KneserNey:
        """Count the grams of documents, each with its end of text."""
        ids = _padded(documents, vocabulary, order)
        real = ids < vocabulary
        places = np.zeros(len(ids), dtype=np.int32)  # of the gram that ends here, one shorter
        found: list[tuple[Numbers, Numbers, Numbers]] = []
        contexts = 1
        for size in range(1, order + 1):
            context = np.zeros_like(places)
            context[1:] = places[:-1]
            keys, first, where, counts = np.unique(
                context.astype(np.int64) * (vocabulary + 1) + ids,
                return_index=True, return_inverse=True, return_counts=True,
            )  # fmt: skip
            if size > 1:  # of the grams one shorter: how many different ids stand before them
                lefts = np.bincount(places[first[real[first]]], minlength=contexts)
                found[-1] = (found[-1][0], lefts, found[-1][2])
            found.append((keys, counts * real[first], first))
            places, contexts = where.astype(np.int32), len(keys)
        sizes = [1, *(len(keys) for keys, _, _ in found)]
        return cls(
            tuple(_level(keys, counts, contexts, vocabulary + 1)
                  for (keys, counts, _), contexts in zip(found, sizes, strict=False)),
            vocabulary,
        )  # fmt: skip

    def nats(self, document: Sequence[int]) -> Floats:
        """Minus the logarithm of the probability of each id."""
        ids = _padded([document], self.vocabulary, self.order)
        share = np.full(len(ids), 1 / self.vocabulary)
        place = np.zeros(len(ids), dtype=np.int64)
        for level in self.levels:
            context = np.full(len(ids), 0 if level is self.levels[0] else -1, dtype=np.int64)
            if level is not self.levels[0]:
                context[1:] = place[:-1]
            place = _places(level.keys, context * (self.vocabulary + 1) + ids)
            place[context < 0] = -1
            known = (context >= 0) & (level.total[context] > 0)
            seen = known & (place >= 0)
            above = np.zeros(len(ids))
            above[seen] = np.maximum(level.counts[place[seen]] - level.less[place[seen]], 0)
            at = context[known]
            share[known] = above[known] / level.total[at] + level.left_over[at] * share[known]
        nats: Floats = -np.log(share[ids < self.vocabulary])
        return nats

    def next_shares(self, before: Sequence[int]) -> Floats:
        """Probability of every id after `before`, the start of a document if that is short."""
        first = [self.vocabulary] * max(0, self.order - 1 - len(before))
        context = [*first, *before[max(0, len(before) - self.order + 1) :]]
        share = np.full(self.vocabulary, 1 / self.vocabulary)
        for size, level in enumerate(self.levels):
            place = self._place(context[len(context) - size :])
            if place < 0 or level.total[place] <= 0:
                continue
            base = place * (self.vocabulary + 1)
            start, end = np.searchsorted(level.keys, [base, base + self.vocabulary])
            share *= level.left_over[place]
            above = np.maximum(level.counts[start:end] - level.less[start:end], 0)
            share[level.keys[start:end] - base] += above / level.total[place]
        return share

    def _place(self, gram: Sequence[int]) -> int:
        """Where a gram stands among those of its order; -1: nowhere."""
        place = 0
        for number, level in zip(gram, self.levels, strict=False):
            wanted = np.array([place * (self.vocabulary + 1) + number])
            place = int(_places(level.keys, wanted)[0])
            if place < 0:
                break
        return place


def discounts(counts: Numbers) -> tuple[float, float, float]:
    """Chen and Goodman's estimate of what to take off counts of 1, 2 and 3 or more."""
    one, two, three, four = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    if not (one and two and three):
        return _FALLBACK
    ratio = one / (one + 2 * two)
    found = (
        1 - 2 * ratio * two / one,
        2 - 3 * ratio * three / two,
        3 - 4 * ratio * four / three,
    )
    return found if all(0 <= less <= n for n, less in enumerate(found, 1)) else _FALLBACK


def _padded(documents: Iterable[Sequence[int]], begin: int, order: int) -> Numbers:
    before = np.full(max(order - 1, 1), begin, dtype=np.int64)
    parts = [part for document in documents for part in (before, np.asarray(document, np.int64))]
    return np.concatenate(parts) if parts else before


def _level(keys: Numbers, counts: Numbers, contexts: int, base: int) -> Level:
    less = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
    context = keys // base
    total: Floats = np.bincount(context, counts, minlength=contexts).astype(np.float64)
    taken = np.bincount(context, np.minimum(less, counts), minlength=contexts)
    left_over: Floats = np.zeros(contexts)
    left_over[total > 0] = taken[total > 0] / total[total > 0]
    return Level(keys, counts.astype(np.int64), less, total, left_over)


def _places(keys: Numbers, wanted: Numbers) -> Numbers:
    """Where each number stands in `keys`; -1: nowhere."""
    found = np.searchsorted(keys, wanted)
    found[found == len(keys)] = 0
    return np.where(keys[found] == wanted, found, -1)
