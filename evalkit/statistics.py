"""Intervals and comparisons over tasks. A task is the unit: its samples are not independent.

Everything is seeded, so a report says the same each time it is made.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tabwright.errors import InvalidRequest

RESAMPLES = 2000
_SEED = 20_261_121
_EVEN = 1e-12  # differences smaller than this are rounding


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Run B against run A, task by task.

    difference: B minus A, with its interval by the paired bootstrap. better, worse: tasks on which
    B differs from A. mcnemar_p: two-sided exact test that B is as often better as worse.
    """

    tasks: int
    difference: Interval
    better: int
    worse: int
    mcnemar_p: float

    def non_inferior(self, margin: float) -> bool:
        """Whether B is, with 97.5 % confidence, less than `margin` worse than A."""
        return self.difference.low > -margin


def bootstrap(values: Sequence[float], resamples: int = RESAMPLES) -> Interval:
    """Mean of per-task values with a percentile bootstrap interval (Efron 1979).

    Raises:
        InvalidRequest: there are no values.
    """
    if not values:
        raise InvalidRequest("tasks", 0, "there is nothing to average")
    chance = random.Random(_SEED)
    count = len(values)
    means = sorted(math.fsum(chance.choices(values, k=count)) / count for _ in range(resamples))
    low, high = means[int(0.025 * resamples)], means[math.ceil(0.975 * resamples) - 1]
    return Interval(math.fsum(values) / count, low, high)


def compare(before: Mapping[str, float], after: Mapping[str, float]) -> Comparison:
    """Compare two runs on the tasks that both have.

    Raises:
        InvalidRequest: they have no task in common.
    """
    common = sorted(before.keys() & after.keys())
    differences = [after[task] - before[task] for task in common]
    better = sum(value > _EVEN for value in differences)
    worse = sum(value < -_EVEN for value in differences)
    return Comparison(len(common), bootstrap(differences), better, worse, mcnemar(better, worse))


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p of McNemar's test (1947): a fair coin among the pairs that differ."""
    differing = better + worse
    if differing == 0:
        return 1.0
    tail = sum(math.comb(differing, k) for k in range(min(better, worse) + 1))
    return float(min(1.0, 2 * tail / 2**differing))
