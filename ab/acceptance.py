"""Compare two arms by what each user did; the user is the unit, never the impression.

Impressions of one user resemble each other, and a few users have most of them. So every number here
is built from one contribution per user: how far the arm's figure would move without that user. The
variance is the sum of their squares, which is right whatever a user's impressions have in common.
CUPED (Deng, Xu, Kohavi and Walker 2013) takes away what a user's days before explain.
Knows nothing of significance: that is `ab.significance`. Read `compare` first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MIN_USERS = 2


class User(NamedTuple):
    """Sums of one user: part of whole, as accepted of shown; and the same before the experiment."""

    part: float
    whole: float
    part_before: float = 0.0
    whole_before: float = 0.0


class Weighting(StrEnum):
    """USERS: the mean of the users' own rates. SUMS: all parts over all wholes."""

    USERS = "users"
    SUMS = "sums"


@dataclass(frozen=True, slots=True)
class Difference:
    """What the candidate has more than the control. variance: of `difference`, its square error.

    explained: the share of variance that the days before took away.
    """

    control: float
    candidate: float
    difference: float
    variance: float
    users: tuple[int, int]
    explained: float = 0.0


class Mean(NamedTuple):
    """A figure of one arm with the square of its error."""

    value: float
    variance: float
    users: int


class _Figure(NamedTuple):
    """A figure of one arm, and what each of its users contributes to the figure's error."""

    value: float
    contributions: Sequence[float]


def compare(
    control: Sequence[User],
    candidate: Sequence[User],
    weighting: Weighting = Weighting.USERS,
    cuped: bool = True,
) -> Difference | None:
    """Compare two arms; None: one has too few users with anything to count, or none who differ."""
    arms = [[user for user in arm if user.whole > 0] for arm in (control, candidate)]
    now = [_figure([(u.part, u.whole) for u in arm], weighting) for arm in arms]
    if now[0] is None or now[1] is None:
        return None
    one, other = now[0], now[1]
    variance = _squares(one.contributions) + _squares(other.contributions)
    found = other.value - one.value
    before = [_figure([(u.part_before, u.whole_before) for u in arm], weighting) for arm in arms]
    adjusted = None
    if cuped and before[0] is not None and before[1] is not None:
        adjusted = _adjusted(found, (one, other), (before[0], before[1]))
    difference, left = adjusted or (found, variance)
    if not 0 < left < math.inf:
        return None
    explained = max(0.0, 1 - left / variance)
    sizes = (len(arms[0]), len(arms[1]))
    return Difference(one.value, other.value, difference, left, sizes, explained)


def alone(users: Sequence[User], weighting: Weighting) -> Mean | None:
    """Figure of one arm; None: it has too few users with anything to count."""
    found = _figure([(user.part, user.whole) for user in users], weighting)
    return found and Mean(found.value, _squares(found.contributions), len(users))


def _figure(sums: Sequence[tuple[float, float]], weighting: Weighting) -> _Figure | None:
    """Figure of those who have a whole; the others contribute nothing to its error."""
    with_whole = [(part, whole) for part, whole in sums if whole > 0]
    count = len(with_whole)
    if count < MIN_USERS:
        return None
    if weighting is Weighting.USERS:
        rates = [part / whole if whole > 0 else None for part, whole in sums]
        mean = math.fsum(rate for rate in rates if rate is not None) / count
        scale = 1 / math.sqrt(count * (count - 1))
        return _Figure(mean, [0.0 if rate is None else (rate - mean) * scale for rate in rates])
    total = math.fsum(whole for _, whole in with_whole)
    ratio = math.fsum(part for part, _ in with_whole) / total
    # Leaving a user out moves the ratio by exactly this: the jackknife, which unlike the delta
    # method does not flatter an arm in which one user has a large share of everything.
    scale = math.sqrt((count - 1) / count)
    return _Figure(ratio, [(p - ratio * w) / (total - w) * scale for p, w in sums])


def _adjusted(
    found: float, now: tuple[_Figure, _Figure], before: tuple[_Figure, _Figure]
) -> tuple[float, float] | None:
    """Difference and variance without what the days before explain; None: they explain nothing."""
    own = [*now[0].contributions, *now[1].contributions]
    past = [*before[0].contributions, *before[1].contributions]
    power = _squares(past)
    if power <= 0:
        return None
    slope = math.fsum(a * b for a, b in zip(own, past, strict=True)) / power
    left = _squares([a - slope * b for a, b in zip(own, past, strict=True)])
    return found - slope * (before[1].value - before[0].value), left


def _squares(values: Sequence[float]) -> float:
    return math.fsum(value * value for value in values)
