"""Judges by a benchmark's own test program, whose asserts run in the process of the candidate.

Such a program is believed less than one whose answers are compared outside, so three things are
asked of it. It exits with 0. It tells the nonce of the run, which it reads only after the last
test. And once it has passed, it must fail when one expected value is made wrong, in a run like the
first: an assert that was redefined, an object that equals everything, an answer read from the
source would pass as well, and is `cheated`. It is compiled in one sandbox and run in another.
What remains is written in docs/evalkit.md. Read `CanaryJudge.judge` first.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import anyio

from evalkit.alterations import alterations, argument_alterations
from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.generate import cut_at_stops
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.program_forms import Form, load_form, program_files, require_needs
from evalkit.runtimes import Runtime, Step, load_runtime
from evalkit.sandbox.seam import Sandbox, SandboxFailed
from evalkit.toolchains import require

_WALL_TIMES_CPU = 6.0
_TRIED = 6
_BY_ENDING = {
    Ending.MEMORY: Outcome.MEMORY,
    Ending.OUTPUT: Outcome.OUTPUT,
    Ending.CPU_TIME: Outcome.CPU_TIME,
    Ending.WALL_TIME: Outcome.WALL_TIME,
}


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found, and what weaker rules would have said: exit status 0, and a nonce besides."""

    verdict: Verdict
    left_with_0: bool
    told_nonce: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """One run of a test program."""

    outcome: Outcome
    detail: str
    cpu_s: float
    left_with_0: bool = False


@dataclass(slots=True)
class CanaryJudge:
    """Judges problems whose tests are a program."""

    sandbox: Sandbox
    _wrong_tests: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _prepared: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    _preparing: anyio.Lock = field(default_factory=anyio.Lock)

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Run the test program, and once it passed a wrong one. See `evalkit.problem.Judge.judge`.

        Raises:
            ToolchainMissing: the language's programs or libraries are not on this machine.
        """
        return (await self.examine(problem, sample, limits)).verdict

    async def examine(self, problem: Problem, sample: Sample, limits: Limits) -> Examined:
        """Judge, and tell what judges that ask for less would have accepted."""
        form = load_form(problem.language, problem.tests["program"])
        require(load_runtime(problem.language))
        require_needs(form)
        seen = await self._run_tests(problem, form, sample.completion, "", limits)
        told = seen.outcome is Outcome.PASSED
        if told:
            seen = await self._look_behind(problem, form, sample, seen, limits)
        verdict = Verdict(problem.task_id, sample.index, seen.outcome, seen.detail, seen.cpu_s)
        return Examined(verdict, seen.left_with_0, told)

    async def _look_behind(
        self, problem: Problem, form: Form, sample: Sample, passed: _Seen, limits: Limits
    ) -> _Seen:
        """Run a program that passed on tests that are wrong; it must not pass again."""
        tests = await self._wrong(problem, form, limits)
        if tests is None:
            return replace(passed, outcome=Outcome.UNJUDGED, detail="no expected value was found")
        if sample.completion == problem.reference:
            return passed  # that it fails them is why these were taken
        second = await self._run_tests(problem, form, sample.completion, tests, limits)
        if second.outcome is Outcome.PASSED:
            return replace(passed, outcome=Outcome.CHEATED, detail="passes wrong tests as well")
        if second.outcome is Outcome.NOT_COMPILED:
            detail = "tests that were made wrong do not compile"
            return replace(passed, outcome=Outcome.UNJUDGED, detail=detail)
        if second.outcome in _BY_ENDING.values():
            detail = "when its tests were wrong"
            return replace(passed, outcome=second.outcome, detail=detail)
        return passed

    async def _wrong(self, problem: Problem, form: Form, limits: Limits) -> str | None:
        """Tests with a wrong value: the first ones that the reference fails, where there is one."""
        key = (problem.language, problem.task_id)  # languages give their tasks the same names
        if key not in self._wrong_tests:
            tests, task_id = problem.tests["tests"], problem.task_id
            entry = problem.entry_point
            made = alterations(tests, form, task_id, entry, problem.prompt)[:_TRIED]
            if problem.reference is None:
                found = made[0] if made else None
            else:
                made += argument_alterations(tests, form)[:_TRIED]
                found = await self._first_that_fails(problem, form, made, limits)
            self._wrong_tests[key] = found
        return self._wrong_tests[key]

    async def _first_that_fails(
        self, problem: Problem, form: Form, made: list[str], limits: Limits
    ) -> str | None:
        assert problem.reference is not None
        for tests in made:
            seen = await self._run_tests(problem, form, problem.reference, tests, limits)
            if seen.outcome in (Outcome.CRASHED, Outcome.WRONG):
                return tests
        return None

    async def _run_tests(
        self, problem: Problem, form: Form, completion: str, tests: str, limits: Limits
    ) -> _Seen:
        """Compile and run once; without `tests`, the problem's own."""
        runtime = load_runtime(problem.language)
        solution = _solution(problem, completion)
        tests = tests or problem.tests["tests"]
        files: dict[str, bytes] = program_files(
            form, runtime, problem.tests.get("head", ""), solution, tests
        )
        if form.compile is not None:
            files = {**files, **_own_files(runtime, form.compile)}
            files |= await self._prepare(runtime, form.prepare)
            built = await self._run(runtime, form.compile, files)
            if not built.succeeded or set(form.compile.collect) - set(built.files):
                outcome = _BY_ENDING.get(built.ending, Outcome.NOT_COMPILED)
                return _Seen(outcome, "while it was compiled", built.cpu_s)
            files = dict(built.files)
        nonce = secrets.token_hex(16)
        ran = await self._run(runtime, form.run, files, limits, nonce)
        seen = _seen(ran, nonce)
        if seen.outcome is Outcome.CRASHED and form.check is not None:
            checked = await self._run(runtime, form.check, files)
            if checked.ending is Ending.EXIT and checked.code != 0:
                seen = replace(seen, outcome=Outcome.NOT_COMPILED, detail="")
        return seen

    async def _prepare(self, runtime: Runtime, step: Step | None) -> Mapping[str, bytes]:
        """Make what every compilation of a language uses, once."""
        if step is None:
            return {}
        async with self._preparing:
            if runtime.name not in self._prepared:
                ran = await self._run(runtime, step, _own_files(runtime, step))
                if not ran.succeeded or set(step.collect) - set(ran.files):
                    said = ran.stderr.decode(errors="replace").strip()[-300:]
                    raise SandboxFailed(f"{runtime.name}: prepare: {ran.ending} {ran.code} {said}")
                self._prepared[runtime.name] = ran.files
        return self._prepared[runtime.name]

    async def _run(
        self,
        runtime: Runtime,
        step: Step,
        files: Mapping[str, bytes],
        limits: Limits | None = None,
        nonce: str = "",
    ) -> Ran:
        limits = limits or Limits(cpu_s=step.cpu_s, wall_s=step.cpu_s * _WALL_TIMES_CPU)
        command = Command(
            argv=step.argv,
            files=files,
            env={**runtime.toolchain.env, **step.env},
            stdin=f"{nonce}\n".encode(),
            collect=step.collect,
            toolchain=runtime.name,
            light=True,
        )
        wide = replace(
            limits,
            memory_mb=max(limits.memory_mb, step.memory_mb),
            processes=max(limits.processes, step.processes),
            disk_mb=max(limits.disk_mb, step.disk_mb),
        )
        return await self.sandbox.run(command, wide)


def _own_files(runtime: Runtime, step: Step) -> dict[str, bytes]:
    return {name: runtime.template(name).encode() for name in step.files}


def _solution(problem: Problem, completion: str) -> str:
    """Prompt and completion together; `closing` is what a stop string took away.

    A published solution may go on behind a stop string, with another function.
    """
    if completion == problem.reference and problem.tests.get("whole"):
        return problem.prompt + completion
    body = cut_at_stops(completion, problem.stop)
    return problem.prompt + body + str(problem.tests.get("closing", ""))


def _seen(ran: Ran, nonce: str) -> _Seen:
    """What one run says by itself."""
    if ran.ending in _BY_ENDING:
        return _Seen(_BY_ENDING[ran.ending], "", ran.cpu_s)
    if ran.ending is Ending.SIGNAL:
        return _Seen(Outcome.CRASHED, f"signal {ran.signal}", ran.cpu_s)
    if ran.code != 0:
        return _Seen(Outcome.CRASHED, f"status {ran.code}", ran.cpu_s)
    if b"\n" + nonce.encode() + b"\n" not in ran.stdout:
        detail = "left with 0 before it was done"
        return _Seen(Outcome.CRASHED, detail, ran.cpu_s, left_with_0=True)
    return _Seen(Outcome.PASSED, "", ran.cpu_s, left_with_0=True)
