"""An experiment day by day, and by language and editor: what a person wants to see of it.

Points of a metric's line are its interval as it was at each day's end, all valid together. Groups
are many questions at once: their p-values are adjusted over all groups and metrics, for any false
answer (Holm) and for the share of false ones among answers (Benjamini-Hochberg); small groups are
shrunk towards the others. Decides nothing. Read `details` first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import NormalDist

from ab.acceptance import Difference, compare
from ab.report import METRICS, Question, by_user, placed, user_of, wanted
from ab.rollup import NOTHING, Cell, Counts, total
from ab.shrinkage import shrink
from ab.significance import always_valid, always_valid_p, benjamini_hochberg, holm

_FOUND = NormalDist().inv_cdf(0.8)
Users = Mapping[str, Counts]
Row = tuple[Cell, Counts]
Parts = tuple[Sequence[Row], Sequence[Row], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Point:
    """A metric at a day's end. finds: the change that is found at such a look in 4 of 5 cases."""

    day: str
    difference: float
    low: float
    high: float
    finds: float


@dataclass(frozen=True, slots=True)
class Group:
    """A metric in one language or editor. shrunken: its difference in the light of the others."""

    group: str
    metric: str
    users: tuple[int, int]
    control: float
    difference: float
    low: float
    high: float
    p: float
    holm_p: float
    bh_p: float
    shrunken: float
    shrunken_error: float


@dataclass(frozen=True, slots=True)
class Details:
    """series: points by metric. languages, editors: groups that have enough users to compare."""

    series: Mapping[str, Sequence[Point]]
    languages: Sequence[Group]
    editors: Sequence[Group]


def details(cells: Iterable[tuple[Cell, Counts]], question: Question) -> Details:
    """Look at `question` day by day and group by group."""
    parts = placed(wanted(cells, question), question)
    return Details(
        _series(parts, question),
        _groups(parts, question, "language"),
        _groups(parts, question, "editor"),
    )


def _series(parts: Parts, question: Question) -> dict[str, list[Point]]:
    before, days = by_user(parts[0]), [_parted(part, "day") for part in parts[1:]]
    arms: tuple[dict[str, Counts], dict[str, Counts]] = ({}, {})
    found: dict[str, list[Point]] = {name: [] for name in METRICS}
    for day in _days(question):
        for arm, by_day in zip(arms, days, strict=True):
            for user, counts in by_user(by_day.get(day, ())).items():
                arm[user] = total([arm.get(user, NOTHING), counts])
        for name, seen in _differences(arms, before, question):
            low, high = always_valid(
                seen.difference, seen.variance, METRICS[name].expected, question.alpha
            )
            finds = (high - low) / 2 + _FOUND * math.sqrt(seen.variance)
            found[name].append(Point(day, seen.difference, low, high, finds))
    return {name: points for name, points in found.items() if points}


def _days(question: Question) -> Iterator[str]:
    for ahead in range((question.until - question.since).days + 1):
        yield (question.since + timedelta(days=ahead)).isoformat()


def _parted(rows: Iterable[Row], kind: str) -> Mapping[str, Sequence[Row]]:
    """Counts by one field of their cells."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[getattr(row[0], kind)].append(row)
    return found


def _differences(
    arms: tuple[Users, Users], before: Users, question: Question
) -> Iterator[tuple[str, Difference]]:
    both = arms[0].keys() & arms[1].keys()
    for name, metric in METRICS.items():
        users = [
            [user_of(metric, c, before.get(u, NOTHING)) for u, c in arm.items() if u not in both]
            for arm in arms
        ]
        seen = compare(users[0], users[1], question.weighting)
        if seen is not None:
            yield name, seen


def _groups(parts: Parts, question: Question, kind: str) -> list[Group]:
    before, control, candidate = (_parted(part, kind) for part in parts)
    found: list[tuple[Group, float]] = []
    for name in sorted({*control, *candidate}):
        arms = (by_user(control.get(name, ())), by_user(candidate.get(name, ())))
        for metric, seen in _differences(arms, by_user(before.get(name, ())), question):
            found.append((_group(name, metric, seen, question.alpha), seen.variance))
    return _adjusted(found)


def _group(name: str, metric: str, seen: Difference, alpha: float) -> Group:
    expected = METRICS[metric].expected
    low, high = always_valid(seen.difference, seen.variance, expected, alpha)
    p_value = always_valid_p(seen.difference, seen.variance, expected)
    return Group(
        name, metric, seen.users, seen.control, seen.difference, low, high,
        p_value, p_value, p_value, seen.difference, math.sqrt(seen.variance),
    )  # fmt: skip


def _adjusted(found: Sequence[tuple[Group, float]]) -> list[Group]:
    p_values = {f"{group.metric}/{group.group}": group.p for group, _ in found}
    families, rates = holm(p_values), benjamini_hochberg(p_values)
    shrunken = {}
    for metric in METRICS:
        of = [(group, variance) for group, variance in found if group.metric == metric]
        for (group, _), one in zip(of, shrink([(g.difference, v) for g, v in of]), strict=True):
            shrunken[metric, group.group] = one
    return [
        replace(
            group,
            holm_p=families[f"{group.metric}/{group.group}"],
            bh_p=rates[f"{group.metric}/{group.group}"],
            shrunken=shrunken[group.metric, group.group].value,
            shrunken_error=shrunken[group.metric, group.group].error,
        )
        for group, _ in found
    ]
