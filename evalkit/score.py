"""From verdicts to a score: counts by outcome, pass@k with intervals, per language.

Unjudged samples are counted and left out, so a task may have fewer judged samples than were drawn.
A task with fewer than k judged samples has no pass@k; how many there are is part of the score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evalkit.estimate import pass_at_k
from evalkit.problem import Outcome, Problem, Verdict
from evalkit.statistics import bootstrap


@dataclass(slots=True)
class Tally:
    """Verdicts of one task: how many of each outcome."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)

    @property
    def judged(self) -> int:
        """Samples that were judged."""
        return self.outcomes.total() - self.outcomes[Outcome.UNJUDGED]

    @property
    def passed(self) -> int:
        """Samples that passed."""
        return self.outcomes[Outcome.PASSED]

    def pass_at(self, k: int) -> float | None:
        """The task's pass@k; None where too few samples were judged."""
        return pass_at_k(self.judged, self.passed, k) if self.judged >= k else None


def tally(verdicts: Iterable[Verdict]) -> dict[str, Tally]:
    """Count verdicts by task."""
    tallies: dict[str, Tally] = {}
    for verdict in verdicts:
        tallies.setdefault(verdict.task_id, Tally()).outcomes[verdict.outcome] += 1
    return tallies


def score(
    problems: Sequence[Problem], tallies: Mapping[str, Tally], ks: Sequence[int]
) -> dict[str, Any]:
    """Score one language's problems, those without a verdict left out, as JSON."""
    rows = {p.task_id: tallies[p.task_id] for p in problems if p.task_id in tallies}
    outcomes = sum((row.outcomes for row in rows.values()), Counter[Outcome]())
    unjudged = outcomes[Outcome.UNJUDGED]
    report: dict[str, Any] = {
        "problems": len(problems),
        "tasks": len(rows),
        "samples": outcomes.total(),
        "passed": outcomes[Outcome.PASSED],
        "failed": outcomes.total() - outcomes[Outcome.PASSED] - unjudged,
        "unjudged": unjudged,
        "outcomes": {outcome.value: outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        "pass_at_k": {},
        "by_task": {
            task_id: {outcome.value: count for outcome, count in sorted(row.outcomes.items())}
            for task_id, row in rows.items()
        },
    }
    for k in ks:
        values = [value for row in rows.values() if (value := row.pass_at(k)) is not None]
        if values:
            interval = bootstrap(values)._asdict()
            left_out = len(rows) - len(values)
            report["pass_at_k"][str(k)] = interval | {"tasks": len(values), "left_out": left_out}
    return report


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over all languages: passed, failed, unjudged, and outcomes by kind."""
    found: dict[str, Any] = {"passed": 0, "failed": 0, "unjudged": 0}
    outcomes: Counter[str] = Counter()
    for row in rows:
        for name in found:
            found[name] += row[name]
        outcomes.update(row["outcomes"])
    return found | {"outcomes": dict(sorted(outcomes.items()))}


def within(
    verdicts: Iterable[Verdict], times: Mapping[str, Sequence[float]], limit_ms: float
) -> Iterator[Verdict]:
    """The same verdicts, with a pass that took the model longer than `limit_ms` counted as wrong.

    times: by task and index. A sample whose time is unknown, not a number, is unjudged here.
    """
    for verdict in verdicts:
        known = times.get(verdict.task_id, ())
        took = known[verdict.index] if verdict.index < len(known) else math.nan
        if math.isnan(took):
            yield replace(verdict, outcome=Outcome.UNJUDGED)
        elif took > limit_ms and verdict.outcome is Outcome.PASSED:
            yield replace(verdict, outcome=Outcome.WALL_TIME)
        else:
            yield verdict
