"""What an experiment has shown so far: each metric's difference, and whether the split is sound.

Reads counts, never events. Days are UTC and whole. Users who had both variants are left out and
counted: they can say nothing about either. It decides nothing. Read `build` first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from ab.acceptance import User, Weighting, compare
from ab.rollup import NOTHING, Cell, Counts, arm_of, total
from ab.significance import always_valid, always_valid_p, holm, mismatch_p

MISMATCH = 0.001  # below it the split is not what was planned


@dataclass(frozen=True, slots=True)
class Metric:
    """Part per whole, each a field of `Counts`; times scale.

    expected: twice to three times the standard error that teams of 20 to 1,000 developers come to,
    where intervals are narrowest; far from it they are wider, and as valid.
    """

    part: str
    whole: str
    expected: float
    scale: float = 1.0
    less_is_better: bool = False


METRICS: Mapping[str, Metric] = {
    "acceptance": Metric("accepted", "shown", 0.08),
    "kept after 10 min": Metric("kept_600", "known_600", 0.1, 0.001),
    "shown per request": Metric("shown", "requested", 0.1),
    "explicit dismissals": Metric("explicit", "shown", 0.03, less_is_better=True),
    "characters per shown": Metric("chars", "shown", 4.0),
    "latency in ms": Metric("total_us", "timed", 30.0, 0.001, True),
}


@dataclass(frozen=True, slots=True)
class Question:
    """Which variants are compared, from since up to until, both included.

    before: days that are used to take noise away, up to `began`, the day on which the first user
    got the candidate, or without it up to since. weights: planned users of control and candidate.
    flag: whose variants they are; without one they are names of models. Who has
    theirs by an override is not in it.
    """

    control: str
    candidate: str
    since: date
    until: date
    before: int = 14
    weights: tuple[float, float] = (1.0, 1.0)
    language: str = ""
    editor: str = ""
    flag: str = ""
    weighting: Weighting = Weighting.USERS
    alpha: float = 0.05
    began: date | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. low, high: of the difference, valid at every look. holm_p: over all rows."""

    metric: str
    control: float
    candidate: float
    difference: float
    low: float
    high: float
    p: float
    holm_p: float
    users: tuple[int, int]
    explained: float
    variance: float


@dataclass(frozen=True, slots=True)
class Report:
    """users: in control and candidate only. both: left out. nameless: suggestions of nobody known.

    mismatch_p: below `MISMATCH` the numbers are not to be believed, whatever they say. missing:
    metrics of which there is too little.
    """

    users: tuple[int, int]
    both: int
    nameless: int
    mismatch_p: float
    rows: Sequence[Row]
    missing: Sequence[str]


def build(cells: Iterable[tuple[Cell, Counts]], question: Question) -> Report:
    """Answer `question` from what was counted."""
    rows = list(wanted(cells, question))
    nameless = sum(counts.requested for cell, counts in rows if not cell.user)
    before, control, candidate = (by_user(part) for part in placed(rows, question))
    both = control.keys() & candidate.keys()
    arms = [{u: c for u, c in arm.items() if u not in both} for arm in (control, candidate)]
    sizes = (len(arms[0]), len(arms[1]))
    found = _rows(arms, before, question)
    missing = [name for name in METRICS if name not in {row.metric for row in found}]
    return Report(sizes, len(both), nameless, mismatch_p(sizes, question.weights), found, missing)


def variant_of(cell: Cell, flag: str) -> str | None:
    """The variant that a cell counts for; without a flag it is a model's name."""
    return arm_of(cell.arms, flag) if flag else cell.variant


def wanted(
    cells: Iterable[tuple[Cell, Counts]], question: Question
) -> Iterator[tuple[Cell, Counts]]:
    """Those counts that the question is about."""
    began = question.began or question.since
    first, end = (began - timedelta(days=question.before)).isoformat(), began.isoformat()
    since, last = question.since.isoformat(), question.until.isoformat()
    for cell, counts in cells:
        if (
            (first <= cell.day < end or since <= cell.day <= last)
            and question.language in ("", cell.language)
            and question.editor in ("", cell.editor)
            and any(counts)
        ):
            yield cell, counts


def placed(
    rows: Iterable[tuple[Cell, Counts]], question: Question
) -> tuple[list[tuple[Cell, Counts]], list[tuple[Cell, Counts]], list[tuple[Cell, Counts]]]:
    """Counts of users who are known: of the days before, of the control and of the candidate."""
    before, control, candidate = [], [], []  # type: ignore[var-annotated]
    arms = {question.control: control, question.candidate: candidate}
    since = question.since.isoformat()
    for row in rows:
        cell = row[0]
        if not cell.user:
            continue
        if cell.day < since:
            before.append(row)
        elif (arm := arms.get(variant_of(cell, question.flag) or "")) is not None:
            arm.append(row)
    return before, control, candidate


def by_user(rows: Iterable[tuple[Cell, Counts]]) -> dict[str, Counts]:
    """What each user's counts add up to."""
    found: dict[str, list[Counts]] = defaultdict(list)
    for cell, counts in rows:
        found[cell.user].append(counts)
    return {user: total(counts) for user, counts in found.items()}


def _rows(
    arms: Sequence[Mapping[str, Counts]], before: Mapping[str, Counts], question: Question
) -> list[Row]:
    found: list[Row] = []
    for name, metric in METRICS.items():
        users = [[user_of(metric, c, before.get(u, NOTHING)) for u, c in a.items()] for a in arms]
        seen = compare(users[0], users[1], question.weighting)
        if seen is None:
            continue
        low, high = always_valid(seen.difference, seen.variance, metric.expected, question.alpha)
        p_value = always_valid_p(seen.difference, seen.variance, metric.expected)
        found.append(
            Row(
                name, seen.control, seen.candidate, seen.difference, low, high,
                p_value, p_value, seen.users, seen.explained, seen.variance,
            )
        )  # fmt: skip
    adjusted = holm({row.metric: row.p for row in found})
    return [replace(row, holm_p=adjusted[row.metric]) for row in found]


def user_of(metric: Metric, now: Counts, before: Counts) -> User:
    """What a metric takes of a user's counts."""
    return User(
        getattr(now, metric.part) * metric.scale,
        getattr(now, metric.whole),
        getattr(before, metric.part) * metric.scale,
        getattr(before, metric.whole),
    )
