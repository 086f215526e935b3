"""What a difference and its variance prove, at one look or at every look.

`always_valid` may be looked at as often as one likes: the chance that it is ever wrong is alpha. It
is the mixture sequential test with a normal mixture (Robbins 1970, "Statistical methods related to
the law of the iterated logarithm"; Johari, Koomen, Pekelis and Walsh 2022, "Always valid
inference"), with the estimated variance, so it holds for large samples as asymptotic confidence
sequences do (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit
theory"). It assumes that looks go together like a random walk in information; with the same users
coming back that is approximate, and docs/ab.md has what simulation says of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

_NORMAL = NormalDist()
_PRIOR_WEIGHTS = (10.0, 100.0, 1_000.0, 10_000.0)  # how near the weights a mismatch is looked for


class Interval(NamedTuple):
    """Where the true difference lies."""

    low: float
    high: float


def fixed(difference: float, variance: float, alpha: float) -> Interval:
    """Confidence interval of a single look that was planned beforehand."""
    width = _NORMAL.inv_cdf(1 - alpha / 2) * math.sqrt(variance)
    return Interval(difference - width, difference + width)


def fixed_p(difference: float, variance: float) -> float:
    """Two-sided p-value of a single look that was planned beforehand."""
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def always_valid(difference: float, variance: float, expected: float, alpha: float) -> Interval:
    """Confidence interval that covers the truth at all looks together.

    expected: the size of differences for which it is to be narrow; fix it before looking.
    """
    spread = expected * expected
    evidence = math.log(1 / alpha) + 0.5 * math.log1p(spread / variance)
    width = math.sqrt(2 * variance * (variance + spread) / spread * evidence)
    return Interval(difference - width, difference + width)


def always_valid_p(difference: float, variance: float, expected: float) -> float:
    """p-value that may be looked at as often as one likes; the smallest one seen counts."""
    spread = expected * expected
    evidence = difference * difference * spread / (2 * variance * (variance + spread))
    return math.exp(min(0.0, 0.5 * math.log1p(spread / variance) - evidence))


def mismatch_p(counts: Sequence[int], weights: Sequence[float]) -> float:
    """p-value, for any number of looks, of users having been split by `weights`.

    The mean of Bayes factors of Dirichlet mixtures around the weights against the weights (Lindon
    and Malek 2022, "Anytime-valid inference for multinomial count data"); the mean of such factors
    is as valid as each. Wide mixtures see a gross mismatch of a few users, narrow ones a slight one
    of many.
    """
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    factors = [_bayes_factor(counts, shares, prior) for prior in _PRIOR_WEIGHTS]
    most = max(factors)
    mean = most + math.log(math.fsum(math.exp(f - most) for f in factors) / len(factors))
    return math.exp(min(0.0, -mean))


def _bayes_factor(counts: Sequence[int], shares: Sequence[float], weight: float) -> float:
    """Logarithm of the evidence against the shares."""
    evidence = math.lgamma(weight) - math.lgamma(weight + sum(counts))
    for count, share in zip(counts, shares, strict=True):
        before = weight * share
        evidence += math.lgamma(before + count) - math.lgamma(before) - count * math.log(share)
    return evidence


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of several questions so that any false answer is as rare (Holm 1979)."""
    adjusted: dict[str, float] = {}
    worst = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        worst = max(worst, min(1.0, p_values[name] * (len(p_values) - place)))
        adjusted[name] = worst
    return adjusted


def benjamini_hochberg(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values so that of what is believed so small a share is false (1995).

    That is for questions that are independent or go together, as metrics of the same users do.
    """
    adjusted: dict[str, float] = {}
    least = 1.0
    names = sorted(p_values, key=lambda name: p_values[name])
    for place in range(len(names), 0, -1):
        name = names[place - 1]
        least = min(least, p_values[name] * len(names) / place)
        adjusted[name] = least
    return adjusted
