"""A/A test on a team's own counts: split users by lot, again and again, and see what is "found".

All users of a split had the same, so whatever is found is wrong. What simulation assumes of
developers is not assumed here: they are the team's own, with their weekends and heavy users. Read
`self_test` first.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ab.acceptance import User, Weighting, compare
from ab.report import METRICS, Metric, user_of
from ab.rollup import NOTHING, Cell, Counts, total
from ab.significance import always_valid_p, fixed_p


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried. variant: a model's name, whose users alone are split; empty: all users."""

    since: date
    until: date
    before: int = 14
    metric: str = "acceptance"
    variant: str = ""
    weighting: Weighting = Weighting.USERS
    splits: int = 200
    alpha: float = 0.05
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """Shares of splits in which a difference was seen at any daily look: by the test that may be
    looked at, and by the one that may not.
    """

    users: int
    looks: int
    always_valid: float
    planned: float


def self_test(cells: Iterable[tuple[Cell, Counts]], trial: Trial) -> Found:
    """Split the users of `trial` by lot, `trial.splits` times."""
    days = _by_day(cells, trial)
    names = sorted({name for day in days for name in day})
    chance = random.Random(trial.seed)
    wrong = fooled = 0
    for _ in range(trial.splits):
        chance.shuffle(names)
        arms = names[: len(names) // 2], names[len(names) // 2 :]
        seen = [_p_values(day, arms, trial) for day in days]
        wrong += any(one < trial.alpha for one, _ in seen)
        fooled += any(other < trial.alpha for _, other in seen)
    return Found(len(names), len(days), wrong / trial.splits, fooled / trial.splits)


def _by_day(cells: Iterable[tuple[Cell, Counts]], trial: Trial) -> list[dict[str, User]]:
    """Sums of each user up to each day."""
    metric = METRICS[trial.metric]
    first = (trial.since - timedelta(days=trial.before)).isoformat()
    since, until = trial.since.isoformat(), trial.until.isoformat()
    before: dict[str, list[Counts]] = defaultdict(list)
    now: dict[str, dict[str, list[Counts]]] = defaultdict(lambda: defaultdict(list))
    for cell, counts in cells:
        if not cell.user or trial.variant not in ("", cell.variant):
            continue
        if first <= cell.day < since:
            before[cell.user].append(counts)
        elif since <= cell.day <= until:
            now[cell.day][cell.user].append(counts)
    past = {user: total(counts) for user, counts in before.items()}
    return list(_cumulated(now, past, metric, trial))


def _cumulated(
    now: dict[str, dict[str, list[Counts]]], past: dict[str, Counts], metric: Metric, trial: Trial
) -> Iterable[dict[str, User]]:
    sums: dict[str, Counts] = {}
    for ahead in range((trial.until - trial.since).days + 1):
        for user, counts in now.get(str(trial.since + timedelta(days=ahead)), {}).items():
            sums[user] = total([sums.get(user, NOTHING), *counts])
        yield {user: user_of(metric, c, past.get(user, NOTHING)) for user, c in sums.items()}


def _p_values(
    day: dict[str, User], arms: Sequence[Sequence[str]], trial: Trial
) -> tuple[float, float]:
    users = [[day[name] for name in arm if name in day] for arm in arms]
    seen = compare(users[0], users[1], trial.weighting)
    if seen is None:
        return 1.0, 1.0
    expected = METRICS[trial.metric].expected
    return (
        always_valid_p(seen.difference, seen.variance, expected),
        fixed_p(seen.difference, seen.variance),
    )
