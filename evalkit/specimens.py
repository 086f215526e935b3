"""A few samples of a run for a reader to look at, with what was found about them.

Of each task the first sample that passed and the first that did not, cut to what fits on a page.
The folder is read as a stream, so a run of a million samples costs no more memory than its tasks.
Read `specimens` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evalkit.problem import Outcome, Sample, Verdict
from evalkit.runs import read_samples, read_verdicts

MOST_TASKS = 1000
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Specimen:
    """One sample and its verdict. left_out: characters of the sample that are not here."""

    verdict: Verdict
    sample: Sample = field(repr=False)
    left_out: int = 0


Specimens = Mapping[str, Sequence[Specimen]]


def run_specimens(folder: Path, report: Mapping[str, Any]) -> dict[str, Specimens]:
    """Choose the specimens of every language of a finished run."""
    languages = list(report["languages"])
    return {
        language: specimens(folder / language if len(languages) > 1 else folder)
        for language in languages
    }


def specimens(folder: Path) -> Specimens:
    """Choose the specimens of one language, by task; none where the folder has no samples."""
    chosen = _chosen(read_verdicts(folder))
    found: dict[str, list[Specimen]] = {}
    for sample in _among(read_samples(folder), chosen):
        left_out = max(0, len(sample.completion) - _LONGEST)
        shown = replace(sample, completion=sample.completion[:_LONGEST])
        verdict = chosen[sample.task_id, sample.index]
        found.setdefault(sample.task_id, []).append(Specimen(verdict, shown, left_out))
    for rows in found.values():
        rows.sort(key=lambda one: one.verdict.outcome is not Outcome.PASSED)
    return found


def _chosen(verdicts: Iterable[Verdict]) -> dict[tuple[str, int], Verdict]:
    """The first verdict that says passed and the first that does not, of each task."""
    first: dict[tuple[str, bool], Verdict] = {}
    tasks: set[str] = set()
    for verdict in verdicts:
        if verdict.task_id in tasks or len(tasks) < MOST_TASKS:
            tasks.add(verdict.task_id)
            first.setdefault((verdict.task_id, verdict.outcome is Outcome.PASSED), verdict)
    return {(verdict.task_id, verdict.index): verdict for verdict in first.values()}


def _among(
    samples: Iterable[Sample], chosen: Mapping[tuple[str, int], Verdict]
) -> Iterator[Sample]:
    """The chosen samples; reading ends with the last of them."""
    left = len(chosen)
    for sample in samples if left else ():
        if (sample.task_id, sample.index) in chosen:
            yield sample
            left -= 1
            if not left:
                return
