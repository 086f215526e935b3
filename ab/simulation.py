"""Experiments on invented developers: how often a method is wrong, and how often it finds out.

A developer has an acceptance rate and a share of what is kept (Beta), and a daily volume
(lognormal, so a few have most of the impressions); days are Poisson and binomial. What people
really do may spread otherwise: the spread is an assumption, written in `Plan`. Gates decide as they
do about real developers, on the rung of proof, where the candidate has half of the users; pass@k,
guardrails, split and traffic are taken as passed. Needs numpy. Read `simulate` first.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ab.acceptance import Weighting
from ab.evidence import Look, Seen
from ab.gates import Gates
from ab.judgement import State, Verdict, metric_state
from ab.many import Arm, Array, Differences, compare_many
from ab.report import METRICS
from ab.significance import always_valid, fixed_p

_BLOCK = 50  # runs at a time: what fits into a processor's cache is done faster
KEPT = "kept after 10 min"


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment. users: in each arm. effect: relative change of each rate, 0.1 for +10 %.

    mean, concentration: of the Beta distribution of rates; volume, spread: median and sigma of the
    lognormal number of suggestions shown a day. kept, kept_concentration: of the share of accepted
    text that is kept. before: days of which CUPED knows.
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
    kept: float = 0.7
    kept_concentration: float = 10.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of runs in which a method saw a difference, at the last look and at any daily look.

    promoted, held, rolled_back: what the gates decided first, or did not; days_to_promote,
    days_to_roll_back: median day of that. pooled: the z-test on impressions. users, sums: fixed
    tests of `ab.acceptance`. always_valid: of the mean of users' rates. covered: how often its
    interval held the truth at all looks. better, worse: how often it decided so. days: median day
    of decision, of those that decided.
    """

    promoted: float
    held: float
    rolled_back: float
    days_to_promote: float | None
    days_to_roll_back: float | None
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


class DayLook(NamedTuple):
    """One look at many experiments. pooled: p-values of the test on impressions."""

    day: int
    users: Differences
    sums: Differences
    kept: Differences
    kept_sums: Differences
    pooled: Array


class _Tally(NamedTuple):
    """One run at one look."""

    day: int
    verdict: Verdict
    pooled: bool
    users: bool
    sums: bool
    better: bool
    worse: bool
    covered: bool


def simulate(plan: Plan, gates: Gates) -> Outcome:
    """Run the experiment `plan.runs` times."""
    runs: list[list[_Tally]] = []
    for block in looks(plan):
        days = [list(_tallies(plan, gates, look)) for look in block]
        runs += [list(run) for run in zip(*days, strict=True)]
    return _outcome(runs)


def looks(plan: Plan) -> Iterator[list[DayLook]]:
    """Blocks of runs, each looked at daily."""
    chance = np.random.default_rng(plan.seed)
    for first in range(0, plan.runs, _BLOCK):
        size = min(_BLOCK, plan.runs - first)
        arms = [_Developers(plan, chance, size, effect) for effect in (0.0, plan.effect)]
        yield [_look(day, *arms) for day in range(1, plan.days + 1)]


class _Developers:
    """One arm of many experiments, day by day."""

    def __init__(self, plan: Plan, chance: np.random.Generator, runs: int, effect: float) -> None:
        """Let them work."""
        shape = (runs, plan.users)
        rates = _beta(chance, plan.mean, plan.concentration, shape)
        kept = _beta(chance, plan.kept, plan.kept_concentration, shape)[..., None]
        volumes = plan.volume * np.exp(chance.normal(0, plan.spread, shape))
        days = plan.before + plan.days
        own = np.repeat(rates[..., None], days, axis=2)
        own[..., plan.before :] = np.clip(own[..., plan.before :] * (1 + effect), 0, 1)
        shown = chance.poisson(volumes[..., None], (*shape, days))
        accepted = chance.binomial(shown, own)
        self._sums = [
            (counts[..., : plan.before].sum(axis=2), np.cumsum(counts[..., plan.before :], axis=2))
            for counts in (shown, accepted, chance.binomial(accepted, kept))
        ]

    def arm(self, day: int, part: int, whole: int) -> Arm:
        """Sums after `day` days; part, whole: 0 shown, 1 accepted, 2 kept."""
        (parts_before, parts), (wholes_before, wholes) = self._sums[part], self._sums[whole]
        sums = (parts[..., day - 1], wholes[..., day - 1], parts_before, wholes_before)
        return Arm(*(array.astype(float) for array in sums))


def _beta(
    chance: np.random.Generator, mean: float, concentration: float, shape: tuple[int, int]
) -> Array:
    return chance.beta(mean * concentration, (1 - mean) * concentration, shape)


def _look(day: int, control: _Developers, candidate: _Developers) -> DayLook:
    arms = [developers.arm(day, 1, 0) for developers in (control, candidate)]
    kept = [developers.arm(day, 2, 1) for developers in (control, candidate)]
    return DayLook(
        day,
        compare_many(arms[0], arms[1]),
        compare_many(arms[0], arms[1], Weighting.SUMS),
        compare_many(kept[0], kept[1]),
        compare_many(kept[0], kept[1], Weighting.SUMS),
        _pooled_p(arms[0], arms[1]),
    )


def _pooled_p(control: Arm, candidate: Arm) -> Array:
    """The test that counts impressions: what dashboards do, and what must not be done."""
    sums = [(arm.part.sum(axis=1), arm.whole.sum(axis=1)) for arm in (control, candidate)]
    (one, ones), (other, others) = sums
    rate = (one + other) / (ones + others)
    variance = rate * (1 - rate) * (1 / ones + 1 / others)
    pairs = zip(other / others - one / ones, variance, strict=True)
    return np.array([fixed_p(found, v) if v > 0 else 1.0 for found, v in pairs])


def _tallies(plan: Plan, gates: Gates, look: DayLook) -> Iterator[_Tally]:
    truth, expected = plan.effect * plan.mean, METRICS["acceptance"].expected
    for run, (found, variance) in enumerate(
        zip(look.users.difference, look.users.variance, strict=True)
    ):
        if not np.isfinite(variance):
            yield _Tally(look.day, Verdict.HOLD, False, False, False, False, False, True)
            continue
        low, high = always_valid(found, variance, expected, plan.alpha)
        sums = fixed_p(look.sums.difference[run], look.sums.variance[run]) < plan.alpha
        yield _Tally(
            day=look.day,
            verdict=_verdict(plan, gates, look, run),
            pooled=look.pooled[run] < plan.alpha,
            users=fixed_p(found, variance) < plan.alpha,
            sums=sums,
            better=low > 0,
            worse=high < 0,
            covered=low <= truth <= high,
        )


def _verdict(plan: Plan, gates: Gates, look: DayLook, run: int) -> Verdict:
    states = []
    sums = gates.weighting is Weighting.SUMS
    chosen = (look.sums, look.kept_sums) if sums else (look.users, look.kept)
    for name, found in zip(("acceptance", KEPT), chosen, strict=True):
        if name in gates.metrics and np.isfinite(found.variance[run]):
            now = Look(
                days=look.day,
                difference=float(found.difference[run]),
                variance=float(found.variance[run]),
            )
            seen = Seen(
                control=float(found.control[run]),
                candidate=float(found.candidate[run]),
                users=(plan.users, plan.users),
                looks=(now,),
            )
            states.append(metric_state(name, gates.metrics[name], seen, True, gates.alpha))
    if State.BROKEN in states:
        return Verdict.ROLL_BACK
    if State.MISSING in states or look.day < gates.ladder.proof_days:
        return Verdict.HOLD
    return Verdict.PROMOTE


def _outcome(runs: Sequence[Sequence[_Tally]]) -> Outcome:
    firsts = [next((look for look in run if look.better or look.worse), None) for run in runs]
    decided = [first for first in firsts if first is not None]
    ends = [next((look for look in run if look.verdict != Verdict.HOLD), None) for run in runs]
    promoted = [end.day for end in ends if end and end.verdict == Verdict.PROMOTE]
    back = [end.day for end in ends if end and end.verdict == Verdict.ROLL_BACK]

    def last(name: str) -> float:
        return statistics.fmean(getattr(run[-1], name) for run in runs)

    def at_any(name: str) -> float:
        return statistics.fmean(any(getattr(look, name) for look in run) for run in runs)

    return Outcome(
        promoted=len(promoted) / len(runs),
        held=ends.count(None) / len(runs),
        rolled_back=len(back) / len(runs),
        days_to_promote=statistics.median(promoted) if promoted else None,
        days_to_roll_back=statistics.median(back) if back else None,
        pooled_last=last("pooled"),
        pooled_any=at_any("pooled"),
        users_last=last("users"),
        users_any=at_any("users"),
        sums_last=last("sums"),
        sums_any=at_any("sums"),
        always_valid_last=last("better") + last("worse"),
        always_valid_any=len(decided) / len(runs),
        covered=statistics.fmean(all(look.covered for look in run) for run in runs),
        better=sum(look.better for look in decided) / len(runs),
        worse=sum(look.worse for look in decided) / len(runs),
        days=statistics.median(look.day for look in decided) if decided else None,
    )
