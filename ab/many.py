"""What `ab.acceptance.compare` says, for many experiments of equal size at once; needs numpy.

For simulations only: a test holds it to the original. Read `compare_many`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ab.acceptance import Weighting

Array = NDArray[np.float64]


class Arm(NamedTuple):
    """Sums by experiment (row) and user (column), as `ab.acceptance.User` has them."""

    part: Array
    whole: Array
    part_before: Array
    whole_before: Array


class Differences(NamedTuple):
    """By experiment; `variance` is infinite where there is too little to compare."""

    control: Array
    candidate: Array
    difference: Array
    variance: Array


class _Figure(NamedTuple):
    value: Array
    contributions: Array


def compare_many(
    control: Arm, candidate: Arm, weighting: Weighting = Weighting.USERS, cuped: bool = True
) -> Differences:
    """Compare two arms in each experiment."""
    arms = (control, candidate)
    one, other = (_figure(arm.part, arm.whole, weighting) for arm in arms)
    found = other.value - one.value
    own = np.concatenate([one.contributions, other.contributions], axis=1)
    left = np.sum(own**2, axis=1)
    if cuped:
        before = [
            _figure(
                arm.part_before * (arm.whole > 0), arm.whole_before * (arm.whole > 0), weighting
            )
            for arm in arms
        ]
        past = np.concatenate([figure.contributions for figure in before], axis=1)
        power = np.sum(past**2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.where(power > 0, np.sum(own * past, axis=1) / power, 0.0)
            shift = np.nan_to_num(slope * (before[1].value - before[0].value))
        found = found - shift
        left = np.sum((own - slope[:, None] * past) ** 2, axis=1)
    usable = np.isfinite(found) & (left > 0)
    return Differences(one.value, other.value, found, np.where(usable, left, np.inf))


def _figure(part: Array, whole: Array, weighting: Weighting) -> _Figure:
    present = whole > 0
    count = present.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        if weighting is Weighting.USERS:
            rates = np.where(present, part / whole, 0.0)
            mean = rates.sum(axis=1, keepdims=True) / count
            scaled = (rates - mean) / np.sqrt(count * (count - 1))
        else:
            total = whole.sum(axis=1, keepdims=True)
            mean = part.sum(axis=1, keepdims=True) / total
            scaled = (part - mean * whole) / (total - whole) * np.sqrt((count - 1) / count)
    contributions = np.where(present & (count > 1), scaled, 0.0)
    return _Figure(np.where(count > 1, mean, np.nan)[:, 0], contributions)
