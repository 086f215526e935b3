"""All that a decision about a candidate is made from, as numbers that can be kept.

Sums and digests, no names: a decision can be made again when the people who were in it are long
erased. Metrics are compared from the first whole day (UTC) on the rung, guardrails from its first
minute. Decides nothing: `ab.judgement` does. Read `gather` first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from ab.acceptance import User, Weighting, alone
from ab.assignment import in_slot
from ab.flags import Flag
from ab.gates import Gates
from ab.ladder import INTERNAL, Standing, percent
from ab.latency import limit_above, quantile, slower
from ab.offline import Evals
from ab.report import Question, build
from ab.rollup import Cell, Counts, arm_of, total
from ab.store import Version

SLOWEST = 0.05  # the share of requests that may be slower than a p95
Cells = Sequence[tuple[Cell, Counts]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Look(_Part):
    """A difference as it was after so many days."""

    days: int
    difference: float
    variance: float


class Seen(_Part):
    """A metric. looks: half of the days, if there are two, and all of them."""

    control: float
    candidate: float
    users: tuple[int, int]
    looks: tuple[Look, ...]


class Rate(_Part):
    """A share, by user, with the square of its error."""

    value: float
    variance: float
    users: int


class Guarded(_Part):
    """Control and candidate. failures: how much more the candidate fails. slow: its requests above
    `limit_ms`. p95_ms: None is more than is counted, or nothing.
    """

    requests: tuple[int, int]
    failed: tuple[int, int]
    failures: Rate | None
    p95_ms: tuple[float | None, float | None]
    limit_ms: int | None
    slow: Rate | None


class Today(_Part):
    """The candidate since the last midnight (UTC). p95_ms: as in `Guarded`."""

    requests: int
    failed: int
    timed: int
    p95_ms: float | None


class Evidence(_Part):
    """What is known. days: whole ones on the rung. hours: on the rung. users: of control and
    candidate, split by weights; weights are None where chance splits nobody. digest: SHA-256 of the
    counts that were read.
    """

    flag: str
    revision: int
    enabled: bool
    control: str
    candidate: str
    rung: str
    percent: float
    above: str | None
    rolled_back: bool
    at: float
    days: int
    hours: float
    gates: Gates
    evals: Evals | None
    guarded: Guarded
    recent: Today
    users: tuple[int, int]
    weights: tuple[float, float] | None
    metrics: Mapping[str, Seen]
    digest: str


def gather(
    cells: Iterable[tuple[Cell, Counts]],
    version: Version,
    candidate: str,
    stands: Standing,
    gates: Gates,
    evals: Evals | None,
    now: float,
) -> Evidence:
    """Collect what is known of a candidate that stands somewhere."""
    today, began, first = _day(now), _day(stands.began), _day(stands.first)
    since = began + timedelta(days=1)
    earliest = min(began, first - timedelta(days=gates.ladder.before)).isoformat()
    wanted = [row for row in cells if row[0].day >= earliest and in_slot(version.flag, row[0].user)]
    between = 0 < stands.rung.percent < 100
    question = Question(
        stands.control, candidate, since, today, gates.ladder.before,
        _weights(version.flag, stands.control, candidate) if between else (1.0, 1.0),
        flag=version.flag.key, weighting=gates.weighting, alpha=gates.alpha, began=first,
    )  # fmt: skip
    metrics, users = (
        _metrics(wanted, question, gates) if between and today >= since else ({}, (0, 0))
    )
    flag = version.flag.key if stands.rung != INTERNAL else f"!{version.flag.key}"
    arms = _Arms(version.flag.key, stands.control, flag, candidate)
    return Evidence(
        flag=version.flag.key, revision=version.revision, enabled=version.flag.enabled,
        control=stands.control, candidate=candidate, rung=stands.rung.name,
        percent=stands.rung.percent, above=stands.above.name if stands.above else None,
        rolled_back=stands.rolled_back, at=now, days=max(0, (today - since).days),
        hours=(now - stands.began) / 3600, gates=gates, evals=evals,
        guarded=_guarded(_guards(wanted, stands, gates), arms, gates),
        recent=_recent([row for row in wanted if row[0].day >= today.isoformat()], arms),
        users=users, weights=question.weights if between else None, metrics=metrics,
        digest=_digest(wanted),
    )  # fmt: skip


def _weights(flag: Flag, control: str, candidate: str) -> tuple[float, float]:
    return percent(flag, control), percent(flag, candidate)


@dataclass(frozen=True, slots=True)
class _Arms:
    """Under which name of a flag which variant is counted."""

    flag: str
    control: str
    candidates_flag: str
    candidate: str

    def split(self, cells: Cells) -> tuple[dict[str, Counts], dict[str, Counts]]:
        """Counts by user, of control and candidate."""
        found: tuple[dict[str, Counts], dict[str, Counts]] = ({}, {})
        for cell, counts in cells:
            if arm_of(cell.arms, self.candidates_flag) == self.candidate:
                arm = found[1]
            elif arm_of(cell.arms, self.flag) == self.control:
                arm = found[0]
            else:
                continue
            arm[cell.user] = total([arm.get(cell.user, Counts()), counts])
        return found


def _metrics(
    cells: Cells, question: Question, gates: Gates
) -> tuple[dict[str, Seen], tuple[int, int]]:
    days = (question.until - question.since).days + 1
    half = question.since + timedelta(days=days // 2 - 1)
    untils = [half, question.until] if days > 1 else [question.until]
    looks: dict[str, list[Look]] = {name: [] for name in gates.metrics}
    seen: dict[str, Seen] = {}
    users = (0, 0)
    for until in untils:
        report = build(cells, replace(question, until=until))
        users = report.users
        for row in report.rows:
            if row.metric in looks:
                so_far = (until - question.since).days + 1
                looks[row.metric].append(
                    Look(days=so_far, difference=row.difference, variance=row.variance)
                )
                seen[row.metric] = Seen(
                    control=row.control, candidate=row.candidate, users=row.users,
                    looks=tuple(looks[row.metric]),
                )  # fmt: skip
    return seen, users


def _guards(cells: Cells, stands: Standing, gates: Gates) -> Cells:
    """Counts of the rung; of one that has no control beside it, that of the days before as well."""
    began = _day(stands.began)
    if stands.rung.percent == 100:
        began -= timedelta(days=gates.ladder.before)
    return [row for row in cells if row[0].day >= began.isoformat()]


def _recent(cells: Cells, arms: _Arms) -> Today:
    found = total(arms.split(cells)[1].values())
    return Today(
        requests=found.requested, failed=found.failed, timed=found.timed,
        p95_ms=quantile(found, 1 - SLOWEST),
    )  # fmt: skip


def _guarded(cells: Cells, arms: _Arms, gates: Gates) -> Guarded:
    control, candidate = arms.split(cells)
    one, other = total(control.values()), total(candidate.values())
    normal = quantile(one, 1 - SLOWEST)
    limit = limit_above(normal * (1 + gates.latency.margin)) if normal is not None else None
    return Guarded(
        requests=(one.requested, other.requested),
        failed=(one.failed, other.failed),
        failures=_failures(control, candidate),
        p95_ms=(normal, quantile(other, 1 - SLOWEST)),
        limit_ms=limit,
        slow=None if limit is None else _slow(candidate, limit),
    )


def _failures(control: Mapping[str, Counts], candidate: Mapping[str, Counts]) -> Rate | None:
    arms = [[User(c.failed, c.requested) for c in arm.values()] for arm in (control, candidate)]
    found = [_rate(arm) for arm in arms]
    if found[0] is None or found[1] is None:
        return None
    one, other = found[0], found[1]
    return Rate(
        value=other.value - one.value,
        variance=one.variance + other.variance,
        users=min(one.users, other.users),
    )


def _slow(candidate: Mapping[str, Counts], limit_ms: int) -> Rate | None:
    return _rate([User(slower(c, limit_ms), c.timed) for c in candidate.values()])


def _rate(users: Sequence[User]) -> Rate | None:
    found = alone(users, Weighting.SUMS)
    if found is None:
        return None
    # Users who all do the same have no variance; then that of so many single requests is the least.
    part, whole = sum(user.part for user in users), sum(user.whole for user in users)
    near = (part + 1) / (whole + 2)
    least = near * (1 - near) / (whole + 2)
    return Rate(value=found.value, variance=max(found.variance, least), users=found.users)


def _digest(cells: Cells) -> str:
    lines = sorted(json.dumps([*cell, *counts]) for cell, counts in cells if any(counts))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
