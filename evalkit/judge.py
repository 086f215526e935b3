"""Decides whether a sample is right, out of reach of the sample.

Python problems that bring a `check` are judged by an oracle in two sandboxes: the checker has the
tests and a stand-in for the candidate, the worker has the candidate and nothing else. Messages go
from one to the other through here; only plain values of exact types pass, never pickles. So early
exits, objects that equal everything, frame walking and patched builtins change nothing: whatever a
candidate does happens in a process that holds no test and gives no verdict. Problems whose cases
are data, in any language, go to `evalkit.nonce_judge`, pages to `evalkit.web_judge`, and those
whose tests are a program of another language to `evalkit.canary_judge`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from evalkit.canary_judge import CanaryJudge
from evalkit.checkers import Checker, Checkers
from evalkit.execution import Ending, Limits, Ran
from evalkit.nonce_judge import NonceJudge
from evalkit.problem import Judge, Outcome, Problem, Sample, Verdict
from evalkit.programs import program
from evalkit.sandbox.seam import Conversation, Sandbox, SandboxFailed
from evalkit.web_judge import WebJudge

# How a checker's message begins that is for the worker; any other is the verdict.
_CALL = b'{"call"'
# How a worker's first message begins when there is a candidate.
_LOADED = b'{"loaded"'
_NO_CALLS = b"[]"
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
        checkers = Checkers(sandbox, program("checker"), tasks)
        try:
            oracle = PythonOracle(sandbox, checkers)
            others = (WebJudge(sandbox), CanaryJudge(sandbox), NonceJudge(sandbox))
            yield _ByTests(oracle, *others)
        except Exception as error:  # noqa: BLE001 - raised below, out of the task group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True)
class _ByTests:
    """Gives each problem to the judge that understands its tests."""

    oracle: PythonOracle
    pages: WebJudge
    programs: CanaryJudge
    others: NonceJudge

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Judge one sample. See `evalkit.problem.Judge.judge`."""
        judge: Judge = self.others
        if "check" in problem.tests:
            judge = self.oracle
        elif "web" in problem.tests:
            judge = self.pages
        elif "program" in problem.tests:
            judge = self.programs
        return await judge.judge(problem, sample, limits)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A problem as JSON. told: for its checker; calls: those that are made ahead."""

    told: bytes
    calls: bytes


@dataclass(frozen=True, slots=True)
class PythonOracle:
    """Judges Python problems whose tests are a source with `check(candidate)`."""

    sandbox: Sandbox
    checkers: Checkers
    _prepared: dict[str, _Prepared] = field(default_factory=dict)

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Run the tests against the sample. See `evalkit.problem.Judge.judge`."""
        ready = await self._prepare(problem)
        if ready.calls != _NO_CALLS:
            verdict = await self._judge(problem, sample, limits, ready)
            if verdict is not None:
                return verdict
        ready = _Prepared(ready.told, _NO_CALLS)
        verdict = await self._judge(problem, sample, limits, ready)
        # What other samples used up of a checker must not count against this one.
        verdict = verdict or await self._judge(problem, sample, limits, ready, fresh=True)
        assert verdict is not None, "a fresh checker that ends is a verdict or a failure"
        return verdict

    async def _judge(
        self,
        problem: Problem,
        sample: Sample,
        limits: Limits,
        ready: _Prepared,
        *,
        fresh: bool = False,
    ) -> Verdict | None:
        """Judge, with calls made ahead; None: that decides nothing, judge again without."""
        async with self.sandbox.talk(program("worker"), limits) as worker:
            source = problem.prompt + sample.completion + (problem.suffix or "")
            loaded = await worker.ask(
                b'{"source": %b, "calls": %b}' % (json.dumps(source).encode(), ready.calls)
            )
            if loaded is None or not loaded.startswith(_LOADED):
                found = _not_loaded(loaded)
            else:
                job = b"\n".join((ready.told, ready.calls, loaded))
                async with self.checkers.lend(fresh=fresh) as checker:
                    found = await _converse(job, checker, worker)
            ran = await worker.end()
        if found == _NOTHING or (found is None and ready.calls != _NO_CALLS):
            return None
        outcome, detail = found or _ended(ran)
        return Verdict(problem.task_id, sample.index, outcome, detail, ran.cpu_s)

    async def _prepare(self, problem: Problem) -> _Prepared:
        """Find out once which calls the tests make first, whatever is answered.

        Made in one message they save most of the time. No answer has any part in them, so a
        candidate learns the arguments of its calls sooner, and nothing else.
        """
        if problem.task_id not in self._prepared:
            told, calls = _told(problem), _NO_CALLS
            async with self.checkers.lend() as checker:
                said = await checker.talk.ask(b"\n".join((told, calls, b"")))
                if said is not None:
                    checker.reusable = True
                    calls = json.dumps(json.loads(said)["calls"]).encode()
            self._prepared[problem.task_id] = _Prepared(told, calls)
        return self._prepared[problem.task_id]


# That a checker decided nothing, about calls made ahead or because others had used it up.
_NOTHING = (Outcome.UNJUDGED, "")


async def _converse(
    job: bytes, checker: Checker, worker: Conversation
) -> tuple[Outcome, str] | None:
    """Pass calls and answers on until the checker decides; None: the worker ended first."""
    said = await checker.talk.ask(job)
    while said is not None and said.startswith(_CALL):
        answer = await worker.ask(said)
        if answer is None:
            return None
        said = await checker.talk.ask(answer)
    if said is not None:
        decision = json.loads(said)
        checker.reusable = not decision["last"]
        if decision["verdict"] == "elsewhere":
            return _NOTHING
        return Outcome(decision["verdict"]), str(decision["detail"])[:80]
    if checker.samples > 1:
        return _NOTHING
    ran = await checker.talk.end()
    if ran.ending in (Ending.CPU_TIME, Ending.MEMORY):
        return Outcome.WRONG, "its answers could not be compared within the limits"
    raise SandboxFailed(f"a checker ended: {ran.ending}")


def _told(problem: Problem) -> bytes:
    """What the checker is told. The reference is there because tests use the prompt's helpers."""
    job = {
        "name": problem.entry_point,
        "setup": problem.tests.get("setup", problem.prompt + (problem.reference or "    pass\n")),
        "tests": problem.tests["check"],
        "run": problem.tests.get("run", "check(candidate)"),
    }
    return json.dumps(job).encode()


def _not_loaded(said: bytes | None) -> tuple[Outcome, str] | None:
    """What a worker without a candidate says; None: it ended, or talks nonsense."""
    answer = _parsed(said)
    if answer is None:
        return None
    name = str(answer.get("raised"))[:80]
    return Outcome.NOT_COMPILED if name == "SyntaxError" else Outcome.CRASHED, name


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
