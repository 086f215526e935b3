"""Chooses mutated references: a benchmark that lets one pass would let a wrong sample pass.

Some mutants do what the reference does, or differ where a benchmark's tests do not look. Those were
found by running and are listed in `survivors.json` (benchmark → language → task → labels), so that
others are chosen in their place. Read `chosen_mutants` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import groupby

import anyio

from evalkit.execution import Limits
from evalkit.mutations import Edit, edits
from evalkit.passk import decide
from evalkit.problem import Judge, Problem, Sample, Verdict

COUNT = 3
_INSTEAD = ("", "pass", "raise ValueError")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong completion. label: what was changed, and where in the completion."""

    label: str
    completion: str = field(repr=False)


def chosen_mutants(benchmark: str, problem: Problem, count: int = COUNT) -> list[Mutant]:
    """Up to `count` mutants of a problem's reference, of many kinds; all of its own."""
    if "mutants" in problem.tests:
        return all_mutants(problem)
    survivors = known_survivors().get(benchmark, {}).get(problem.language, {})
    known = set(survivors.get(problem.task_id, ()))
    return [mutant for mutant in all_mutants(problem) if mutant.label not in known][:count]


def all_mutants(problem: Problem) -> list[Mutant]:
    """Every mutant of a problem's reference: the first of each kind, then the second, and so on.

    A problem may bring its own, as pairs of what stands in the reference and what to put there.
    """
    reference = problem.reference or ""
    if given := problem.tests.get("mutants"):
        return [Mutant(f"{old} → {new}", reference.replace(old, new)) for old, new in given]
    before = len(problem.prompt.encode())
    source = (problem.prompt + reference + (problem.suffix or "")).encode()
    end = before + len(reference.encode())
    inside = [
        edit
        for edit in edits(source.decode(), problem.language)
        if before <= edit.start and edit.end <= end
    ]
    by_kind = sorted(inside, key=lambda edit: (edit.kind, edit.start))
    ranked = [
        (rank, edit)
        for _, group in groupby(by_kind, key=lambda edit: edit.kind)
        for rank, edit in enumerate(group)
    ]
    ordered = [edit for _, edit in sorted(ranked, key=lambda pair: (pair[0], pair[1].kind))]
    if problem.suffix is not None:
        # A hole may be too small to hold anything that can be edited.
        ordered += [Edit(before, end, text, "whole") for text in _INSTEAD]
    return [_mutant(source, edit, before, end) for edit in ordered]


async def judge_mutants(
    problems: Sequence[Problem],
    chosen: Mapping[str, Sequence[Mutant]],
    judge: Judge,
    limits: Mapping[str, Limits],
    places: int,
    seen: Callable[[Verdict], None],
) -> list[tuple[Mutant, Verdict]]:
    """Judge the mutants that were chosen for each task; tell `seen` of every verdict."""
    judged: list[tuple[Mutant, Verdict]] = []
    limiter = anyio.CapacityLimiter(places)

    async def one(problem: Problem, index: int, mutant: Mutant) -> None:
        async with limiter:
            sample = Sample(problem.task_id, index, mutant.completion)
            verdict = await decide(judge, problem, sample, limits[problem.task_id])
        judged.append((mutant, verdict))
        seen(verdict)

    async with anyio.create_task_group() as tasks:
        for problem in problems:
            for index, mutant in enumerate(chosen.get(problem.task_id, ())):
                tasks.start_soon(one, problem, index, mutant)
    return judged


def _mutant(source: bytes, edit: Edit, before: int, end: int) -> Mutant:
    old = source[edit.start : edit.end].decode()
    label = f"{edit.kind} at {edit.start - before}: {old} → {edit.text or 'nothing'}"
    body = source[before : edit.start] + edit.text.encode() + source[edit.end : end]
    return Mutant(label, body.decode())


@cache
def known_survivors() -> Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]:
    """The list of mutants that are known to pass."""
    file = resources.files("evalkit.benchmarks") / "survivors.json"
    found: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]] = json.loads(file.read_bytes())
    return found
