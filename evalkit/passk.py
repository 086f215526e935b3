"""THE MAIN PATH of one run: problems → samples → verdicts, resumable at any moment.

Generation and execution overlap: samples flow through a bounded channel to as many judges as there
are places. First the references are run, because a harness in which they fail judges nothing; the
processor time they take on this machine gives each problem its limit, so that a slow machine calls
nobody wrong. What is already in the run's folder is not done again. Memory does not grow with the
number of samples. Read `evaluate` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from evalkit.execution import Limits
from evalkit.generate import SampleSource
from evalkit.problem import Judge, Outcome, Problem, Sample, Verdict
from evalkit.runs import RunFolder
from evalkit.sandbox.seam import SandboxFailed

_FLOOR_CPU_S = 2.0
_TIMES_REFERENCE = 10.0
_WALL_TIMES_CPU = 15.0
_WALL_EXTRA_S = 10.0
_ATTEMPTS = 3
# What a machine may cause as well as a program is looked at again before it is believed.
_LOOK_AGAIN = (Outcome.CPU_TIME, Outcome.WALL_TIME, Outcome.MEMORY)


@dataclass(frozen=True, slots=True)
class Places:
    """How much happens at a time: judged samples, and requests to the model."""

    judges: int = 2
    requests: int = 8


async def judge_references(
    problems: Sequence[Problem], judge: Judge, places: int, seen: Callable[[Verdict], None]
) -> dict[str, Verdict]:
    """Judge the reference of every problem that has one."""
    verdicts: dict[str, Verdict] = {}
    limiter = anyio.CapacityLimiter(places)

    async def one(problem: Problem, reference: str) -> None:
        async with limiter:
            sample = Sample(problem.task_id, 0, reference)
            verdict = await decide(judge, problem, sample, Limits())
            verdicts[problem.task_id] = verdict
            seen(verdict)

    try:
        async with anyio.create_task_group() as tasks:
            for problem in problems:
                if problem.reference is not None:
                    tasks.start_soon(one, problem, problem.reference)
    except ExceptionGroup as group:
        raise _first(group) from None
    return verdicts


def limits_for(reference_cpu_s: float | None) -> Limits:
    """The limits of a problem whose reference took so much processor time on this machine."""
    cpu_s = max(_FLOOR_CPU_S, _TIMES_REFERENCE * (reference_cpu_s or 0.0))
    if reference_cpu_s is None:
        cpu_s = Limits().cpu_s
    return replace(Limits(), cpu_s=cpu_s, wall_s=cpu_s * _WALL_TIMES_CPU + _WALL_EXTRA_S)


async def evaluate(
    problems: Sequence[Problem],
    n: int,
    source: SampleSource,
    judge: Judge,
    run: RunFolder,
    limits: Mapping[str, Limits],
    places: Places,
    seen: Callable[[Verdict], None],
) -> None:
    """Bring `run` to n verdicts for each problem; tell `seen` of every new one.

    Raises:
        EndpointFailed: the model could not be asked; what is done is kept.
    """
    by_id = {problem.task_id: problem for problem in problems}
    judged = _marked((v.task_id, v.index) for v in run.verdicts())
    # A verdict whose sample is lost stands as it is: judged twice it would count twice.
    have = _marked((s.task_id, s.index) for s in run.samples())
    have = {task_id: have.get(task_id, 0) | judged.get(task_id, 0) for task_id in by_id}
    send, receive = anyio.create_memory_object_stream[Sample](2 * places.judges)
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(places.judges):
                tasks.start_soon(_judge_all, receive.clone(), by_id, judge, run, limits, seen)
            receive.close()
            async with send:
                for sample in run.samples():  # drawn before, and not judged
                    done = judged.get(sample.task_id, 0) >> sample.index & 1
                    if not done and sample.task_id in by_id:
                        await send.send(sample)
                wanted = (
                    (problem, index)
                    for problem in problems
                    for index in range(n)
                    if not have.get(problem.task_id, 0) >> index & 1 and source.has(problem, index)
                )
                await _draw_all(wanted, source, run, send, places.requests)
    except ExceptionGroup as group:
        raise _first(group) from None


def _first(error: Exception) -> Exception:
    """The first real error of a group, which may hold groups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _marked(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """A bit for each index, by task: a million samples take no room."""
    marked: dict[str, int] = {}
    for task_id, index in pairs:
        marked[task_id] = marked.get(task_id, 0) | 1 << index
    return marked


async def _draw_all(
    wanted: Iterator[tuple[Problem, int]],
    source: SampleSource,
    run: RunFolder,
    send: MemoryObjectSendStream[Sample],
    requests: int,
) -> None:
    async def draw() -> None:
        for problem, index in wanted:
            sample = await source.sample(problem, index)
            run.add_sample(sample)
            await send.send(sample)

    async with anyio.create_task_group() as tasks:
        for _ in range(requests):
            tasks.start_soon(draw)


async def _judge_all(
    samples: MemoryObjectReceiveStream[Sample],
    by_id: Mapping[str, Problem],
    judge: Judge,
    run: RunFolder,
    limits: Mapping[str, Limits],
    seen: Callable[[Verdict], None],
) -> None:
    async with samples:
        async for sample in samples:
            problem = by_id[sample.task_id]
            verdict = await decide(judge, problem, sample, limits[problem.task_id])
            run.add_verdict(verdict)
            seen(verdict)


async def decide(judge: Judge, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
    """Judge one sample; what may be the machine's fault is looked at again.

    A sandbox that fails is tried again and then leaves the sample unjudged. A limit that was
    reached must be reached twice; if the second verdict differs, a third decides, and if all three
    differ the sample is unjudged.
    """
    verdicts: list[Verdict] = []
    fault = ""
    for _ in range(_ATTEMPTS):
        try:
            verdict = await judge.judge(problem, sample, limits)
        except SandboxFailed as error:
            fault = f"the sandbox failed: {error}"
            continue
        verdicts.append(verdict)
        outcomes = [v.outcome for v in verdicts]
        if outcomes.count(verdict.outcome) > 1 or (
            len(verdicts) == 1 and verdict.outcome not in _LOOK_AGAIN
        ):
            return verdict
    detail = "verdicts differed: " + ", ".join(v.outcome for v in verdicts) if verdicts else fault
    return Verdict(problem.task_id, sample.index, Outcome.UNJUDGED, detail)
