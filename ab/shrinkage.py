"""Draw the estimates of small groups towards what all groups have in common (empirical Bayes).

Groups differ truly by some amount, and by chance because they are small. The first is estimated
from all of them by moments (DerSimonian and Laird 1986), and each group is believed as far as its
own error allows. These are estimates for reading a table of many groups; they hold at no look
together and decide nothing. Read `shrink`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Shrunken(NamedTuple):
    """A group's estimate, its standard error, and how far its own data is believed (0 to 1)."""

    value: float
    error: float
    believed: float


def shrink(estimates: Sequence[tuple[float, float]]) -> list[Shrunken]:
    """Shrink differences, each with its variance."""
    if not estimates:
        return []
    between = _between(estimates)
    weights = [1 / (variance + between) for _, variance in estimates]
    weight = math.fsum(weights)
    centre = math.fsum(w * d for w, (d, _) in zip(weights, estimates, strict=True)) / weight
    found = []
    for difference, variance in estimates:
        believed = between / (between + variance) if len(estimates) > 1 else 1.0
        own = believed * variance + (1 - believed) ** 2 / weight
        value = believed * difference + (1 - believed) * centre
        found.append(Shrunken(value, math.sqrt(own), believed))
    return found


def _between(estimates: Sequence[tuple[float, float]]) -> float:
    """Variance of true differences among groups."""
    weights = [1 / variance for _, variance in estimates]
    total, squares = math.fsum(weights), math.fsum(w * w for w in weights)
    centre = math.fsum(w * d for w, (d, _) in zip(weights, estimates, strict=True)) / total
    spread = math.fsum(w * (d - centre) ** 2 for w, (d, _) in zip(weights, estimates, strict=True))
    scale = total - squares / total
    return max(0.0, (spread - (len(estimates) - 1)) / scale) if scale > 0 else 0.0
