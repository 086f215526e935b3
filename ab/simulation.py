"""Experiments on invented developers: how often a method is wrong, and how often it finds out.

A developer has an acceptance rate (Beta) and a daily volume (lognormal, so a few have most of the
impressions); days are Poisson and binomial. What people really do may spread otherwise: the spread
is an assumption, written in `Plan`. Needs numpy. Read `simulate` first.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ab.acceptance import User, Weighting, compare
from ab.report import METRICS
from ab.significance import always_valid, fixed_p


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment. users: in each arm. effect: relative change of each rate, 0.1 for +10 %.

    mean, concentration: of the Beta distribution of rates; volume, spread: median and sigma of the
    lognormal number of suggestions shown a day. before: days of which CUPED knows.
    """

    users: int = 400
    days: int = 14
    effect: float = 0.0
    before: int = 0
    runs: int = 200
    alpha: float = 0.05
    mean: float = 0.28
    concentration: float = 7.1
    volume: float = 12.0
    spread: float = 1.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of runs in which a method saw a difference, at the last look and at any daily look.

    pooled: the z-test on impressions. users, sums: fixed tests of `ab.acceptance`. always_valid: of
    the mean of users' rates. covered: how often its interval held the truth at all looks. better,
    worse: how often it decided so. days: median day of decision, of those that decided.
    """

    pooled_last: float
    pooled_any: float
    users_last: float
    users_any: float
    sums_last: float
    sums_any: float
    always_valid_last: float
    always_valid_any: float
    covered: float
    better: float
    worse: float
    days: float | None


class _Look(NamedTuple):
    pooled: bool
    users: bool
    sums: bool
    better: bool
    worse: bool
    covered: bool


def simulate(plan: Plan) -> Outcome:
    """Run the experiment `plan.runs` times."""
    chance = np.random.default_rng(plan.seed)
    runs = [list(_run(plan, chance)) for _ in range(plan.runs)]
    firsts = [next((day for day in looks if day[1].better or day[1].worse), None) for looks in runs]
    decided = [first for first in firsts if first is not None]

    def last(name: str) -> float:
        return statistics.fmean(getattr(looks[-1][1], name) for looks in runs)

    def at_any(name: str) -> float:
        return statistics.fmean(any(getattr(look, name) for _, look in looks) for looks in runs)

    return Outcome(
        pooled_last=last("pooled"),
        pooled_any=at_any("pooled"),
        users_last=last("users"),
        users_any=at_any("users"),
        sums_last=last("sums"),
        sums_any=at_any("sums"),
        always_valid_last=last("better") + last("worse"),
        always_valid_any=len(decided) / plan.runs,
        covered=statistics.fmean(all(look.covered for _, look in looks) for looks in runs),
        better=sum(look.better for _, look in decided) / plan.runs,
        worse=sum(look.worse for _, look in decided) / plan.runs,
        days=statistics.median(day for day, _ in decided) if decided else None,
    )


def _run(plan: Plan, chance: np.random.Generator) -> Iterator[tuple[int, _Look]]:
    arms = [_arm(plan, chance, effect) for effect in (0.0, plan.effect)]
    truth = plan.effect * plan.mean
    for day in range(1, plan.days + 1):
        control, candidate = ([user(day) for user in arm] for arm in arms)
        looked = _look(plan, control, candidate, truth)
        if looked is not None:
            yield day, looked


class _Developer(NamedTuple):
    """Cumulated sums of one developer, by day."""

    accepted: list[int]
    shown: list[int]
    accepted_before: int
    shown_before: int

    def __call__(self, day: int) -> User:
        """Sums after `day` days."""
        before = (self.accepted_before, self.shown_before)
        return User(self.accepted[day - 1], self.shown[day - 1], *before)


def _arm(plan: Plan, chance: np.random.Generator, effect: float) -> list[_Developer]:
    first = plan.mean * plan.concentration
    rates = chance.beta(first, plan.concentration - first, plan.users)
    volumes = plan.volume * np.exp(chance.normal(0, plan.spread, plan.users))
    shown = chance.poisson(volumes[:, None], (plan.users, plan.before + plan.days))
    own = np.repeat(rates[:, None], shown.shape[1], axis=1)
    own[:, plan.before :] = np.clip(own[:, plan.before :] * (1 + effect), 0, 1)
    accepted = chance.binomial(shown, own)
    return [
        _Developer(
            np.cumsum(a[plan.before :]).tolist(),
            np.cumsum(s[plan.before :]).tolist(),
            int(a[: plan.before].sum()),
            int(s[: plan.before].sum()),
        )
        for a, s in zip(accepted, shown, strict=True)
    ]


def _look(plan: Plan, control: list[User], candidate: list[User], truth: float) -> _Look | None:
    by_users = compare(control, candidate)
    by_sums = compare(control, candidate, Weighting.SUMS)
    if by_users is None or by_sums is None:
        return None
    expected = METRICS["acceptance"].expected
    low, high = always_valid(by_users.difference, by_users.variance, expected, plan.alpha)
    return _Look(
        pooled=_pooled_p(control, candidate) < plan.alpha,
        users=fixed_p(by_users.difference, by_users.variance) < plan.alpha,
        sums=fixed_p(by_sums.difference, by_sums.variance) < plan.alpha,
        better=low > 0,
        worse=high < 0,
        covered=low <= truth <= high,
    )


def _pooled_p(control: list[User], candidate: list[User]) -> float:
    """The test that counts impressions: what dashboards do, and what must not be done."""
    sums = [(sum(u.part for u in arm), sum(u.whole for u in arm)) for arm in (control, candidate)]
    (one, ones), (other, others) = sums
    rate = (one + other) / (ones + others)
    variance = rate * (1 - rate) * (1 / ones + 1 / others)
    return fixed_p(other / others - one / ones, variance) if variance > 0 else 1.0
