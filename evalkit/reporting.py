"""One language's part of a report, read from its run's folder, with no more memory than tasks take.

Besides the score: the same within a time, and without what the model has met in training. Read
`language_row` first.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalkit.contamination import Contamination
from evalkit.problem import Problem, Sample
from evalkit.runs import RunFolder
from evalkit.score import score, tally, within


def language_row(
    run: RunFolder,
    problems: Sequence[Problem],
    ks: Sequence[int],
    within_ms: float | None = None,
    contamination: Contamination | None = None,
) -> dict[str, Any]:
    """Score one language, as JSON."""
    tallies = tally(run.verdicts())
    row = score(problems, tallies, ks)
    if within_ms is not None:
        quick = tally(within(run.verdicts(), generation_times(run.samples()), within_ms))
        row["within_ms"] = {"ms": within_ms, "pass_at_k": score(problems, quick, ks)["pass_at_k"]}
    if contamination is not None:
        hits = contamination.rows([problem.task_id for problem in problems])
        clean = [problem for problem in problems if problem.task_id not in hits]
        without = score(clean, tallies, ks)
        row["contamination"] = {
            "hits": hits,
            "without": {"tasks": without["tasks"], "pass_at_k": without["pass_at_k"]},
        }
    return row


def generation_times(samples: Iterable[Sample]) -> Mapping[str, array[float]]:
    """How long each sample took to make, by task and index; not a number where that is unknown."""
    times: dict[str, array[float]] = {}
    for sample in samples:
        row = times.setdefault(sample.task_id, array("d"))
        if len(row) <= sample.index:
            row.extend([math.nan] * (sample.index + 1 - len(row)))
        if sample.generated_ms is not None:
            row[sample.index] = sample.generated_ms
    return times
