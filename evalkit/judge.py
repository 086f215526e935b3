"""Decides whether a sample is right, out of reach of the sample.

Python problems that bring a `check` are judged by an oracle in two sandboxes: the checker has the
tests and a stand-in for the candidate, the worker has the candidate and nothing else. Messages go
from one to the other through here; only plain values of exact types pass, never pickles. So early
exits, objects that equal everything, frame walking and patched builtins change nothing: whatever a
candidate does happens in a process that holds no test and gives no verdict. Problems whose cases
are data, in any language, go to `evalkit.nonce_judge`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import anyio

from evalkit.checkers import Checker, Checkers
from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.nonce_judge import NonceJudge
from evalkit.problem import Judge, Outcome, Problem, Sample, Verdict
from evalkit.sandbox.seam import Conversation, Sandbox, SandboxFailed

_PYTHON = ("python3", "-I", "-S", "main.py")
# How a checker's message begins that is for the worker; any other is the verdict.
_CALL = b'{"call"'
_BY_ENDING = {
    Ending.MEMORY: Outcome.MEMORY,
    Ending.OUTPUT: Outcome.OUTPUT,
    Ending.CPU_TIME: Outcome.CPU_TIME,
    Ending.WALL_TIME: Outcome.WALL_TIME,
}


@asynccontextmanager
async def open_judge(sandbox: Sandbox) -> AsyncIterator[Judge]:
    """Open the judge of all problems, with `sandbox` for everything that is executed."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        checkers = Checkers(sandbox, _program("checker"), tasks)
        try:
            yield _ByTests(PythonOracle(sandbox, checkers), NonceJudge(sandbox))
        except Exception as error:  # noqa: BLE001 - raised below, out of the task group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True)
class _ByTests:
    """Gives each problem to the judge that understands its tests."""

    oracle: PythonOracle
    others: NonceJudge

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Judge one sample. See `evalkit.problem.Judge.judge`."""
        judge: Judge = self.oracle if "check" in problem.tests else self.others
        return await judge.judge(problem, sample, limits)


@dataclass(frozen=True, slots=True)
class PythonOracle:
    """Judges Python problems whose tests are a source with `check(candidate)`."""

    sandbox: Sandbox
    checkers: Checkers

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Run the tests against the sample. See `evalkit.problem.Judge.judge`."""
        try:
            return await self._judge(problem, sample, limits, fresh=False)
        except _CheckerSpent:
            # What other samples used up must not count against this one.
            return await self._judge(problem, sample, limits, fresh=True)

    async def _judge(
        self, problem: Problem, sample: Sample, limits: Limits, *, fresh: bool
    ) -> Verdict:
        def verdict(outcome: Outcome, detail: str, cpu_s: float) -> Verdict:
            return Verdict(problem.task_id, sample.index, outcome, detail, cpu_s)

        async with self.sandbox.talk(_program("worker"), limits) as worker:
            source = problem.prompt + sample.completion + (problem.suffix or "")
            loaded = await worker.ask(json.dumps({"source": source}).encode())
            answer = _parsed(loaded)
            if answer is None:
                ran = await worker.end()
                return verdict(*_ended(ran), ran.cpu_s)
            if "loaded" not in answer:
                name = str(answer.get("raised"))[:80]
                ran = await worker.end()
                broken = Outcome.NOT_COMPILED if name == "SyntaxError" else Outcome.CRASHED
                return verdict(broken, name, ran.cpu_s)
            async with self.checkers.lend(fresh=fresh) as checker:
                found = await _converse(problem, checker, worker)
            ran = await worker.end()
        return verdict(*(found or _ended(ran)), ran.cpu_s)


class _CheckerSpent(Exception):
    """A checker that other samples had used before ended."""


async def _converse(
    problem: Problem, checker: Checker, worker: Conversation
) -> tuple[Outcome, str] | None:
    """Pass calls and answers on until the checker decides; None: the worker ended first."""
    said = await checker.talk.ask(json.dumps(_job(problem)).encode())
    while said is not None and said.startswith(_CALL):
        answer = await worker.ask(said)
        if answer is None:
            return None
        said = await checker.talk.ask(answer)
    if said is not None:
        checker.reusable = True
        decision = json.loads(said)
        return Outcome(decision["verdict"]), str(decision["detail"])[:80]
    if checker.samples > 1:
        raise _CheckerSpent
    ran = await checker.talk.end()
    if ran.ending in (Ending.CPU_TIME, Ending.MEMORY):
        return Outcome.WRONG, "its answers could not be compared within the limits"
    raise SandboxFailed(f"the checker of {problem.task_id} ended: {ran.ending}")


def _job(problem: Problem) -> dict[str, Any]:
    """What the checker is told. The reference is there because tests use the prompt's helpers."""
    name = problem.entry_point
    return {
        "name": name,
        "setup": problem.tests.get("setup", problem.prompt + (problem.reference or "    pass\n")),
        "tests": problem.tests["check"],
        "run": problem.tests.get("run", "check(candidate)"),
    }


def _ended(ran: Ran) -> tuple[Outcome, str]:
    """What a worker's end says: it was to stay until it is told to go."""
    if ran.ending in _BY_ENDING:
        return _BY_ENDING[ran.ending], ""
    if ran.ending is Ending.SIGNAL:
        return Outcome.CRASHED, f"signal {ran.signal}"
    return Outcome.CRASHED, f"left with {ran.code} before it was done"


def _parsed(raw: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(raw) if raw is not None else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@cache
def _program(name: str) -> Command:
    """One of the programs in `evalkit.inside`, with the codec in front instead of its import."""
    folder = resources.files("evalkit.inside")
    codec, main = ((folder / f"{part}.py").read_text(encoding="utf-8") for part in ("codec", name))
    lines = [line for line in main.splitlines() if not line.startswith("from evalkit.")]
    text = codec + "\n" + "\n".join(lines) + "\n"
    return Command(argv=_PYTHON, files={"main.py": text.encode()}, toolchain="python")
