"""Judges programs of any language by what they answer, outside the sandbox they ran in.

A program is compiled in one sandbox and run in another. It calls the candidate with the arguments
of every case, and only after the last one reads this run's nonce from stdin and prints it, with all
answers behind it. What is expected never enters a sandbox, so there is nothing to read, to patch or
to be equal to: early exits lack the nonce, and made-up answers are wrong. An exit status of 0 alone
is worth nothing. Read `NonceJudge.judge` first.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from evalkit.answers import wrong_case
from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.neutral import NeutralProblem
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.rendering import Around, program_around, solution_of, with_solution
from evalkit.runtimes import FOLDER, Runtime, Step, load_runtime
from evalkit.sandbox.seam import Sandbox, SandboxFailed
from evalkit.toolchains import require

_KEPT_PROBLEMS = 256
_KEPT_BUILDS = 64
_KEPT_BYTES = 128 << 20
_WALL_TIMES_CPU = 6.0
_BY_ENDING = {
    Ending.MEMORY: Outcome.MEMORY,
    Ending.OUTPUT: Outcome.OUTPUT,
    Ending.CPU_TIME: Outcome.CPU_TIME,
    Ending.WALL_TIME: Outcome.WALL_TIME,
}
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A problem, and the program around its solutions."""

    problem: Problem
    neutral: NeutralProblem
    around: Around


@dataclass(slots=True)
class NonceJudge:
    """Judges problems whose cases are data. Holds what was compiled for a while."""

    sandbox: Sandbox
    root: Path = FOLDER
    _prepared: dict[str, Files] = field(default_factory=dict)
    _preparing: anyio.Lock = field(default_factory=anyio.Lock)
    _ready: OrderedDict[tuple[str, str], _Ready] = field(default_factory=OrderedDict)
    _builds: OrderedDict[bytes, tuple[Ran, Files]] = field(default_factory=OrderedDict)

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Compile and run one sample. See `evalkit.problem.Judge.judge`.

        Raises:
            ToolchainMissing: the language's programs are not on this machine.
        """
        runtime = load_runtime(problem.language, self.root)
        if not self.sandbox.brings_toolchains:
            require(runtime)
        ready = self._ready_for(problem, runtime)
        files: Files = with_solution(ready.around, solution_of(problem, runtime, sample.completion))

        def verdict(outcome: Outcome, detail: str, cpu_s: float) -> Verdict:
            return Verdict(problem.task_id, sample.index, outcome, detail, cpu_s)

        if runtime.compile is not None:
            built, files = await self._build(runtime, runtime.compile, files)
            if not built.succeeded or set(runtime.compile.collect) - set(files):
                outcome = _BY_ENDING.get(built.ending, Outcome.NOT_COMPILED)
                return verdict(outcome, "while it was compiled", built.cpu_s)
        assert runtime.run is not None, "a problem with cases has a runtime that runs"
        nonce = secrets.token_hex(16)
        ran = await self._run(runtime, runtime.run, files, limits, nonce)
        outcome, detail = _decided(ready.neutral, ran, nonce, limits)
        if outcome is Outcome.CRASHED and await self._is_malformed(runtime, files):
            outcome, detail = Outcome.NOT_COMPILED, ""
        return verdict(outcome, detail, ran.cpu_s)

    def _ready_for(self, problem: Problem, runtime: Runtime) -> _Ready:
        """Read a problem and write its program, or take what was made for the sample before."""
        key = (problem.language, problem.task_id)
        ready = self._ready.pop(key, None)
        if ready is None or ready.problem is not problem:
            neutral = NeutralProblem.of(problem.tests["neutral"], problem.task_id)
            ready = _Ready(problem, neutral, program_around(neutral, runtime))
        self._ready[key] = ready
        while len(self._ready) > _KEPT_PROBLEMS:
            self._ready.popitem(last=False)
        return ready

    async def _build(self, runtime: Runtime, step: Step, files: Files) -> tuple[Ran, Files]:
        """Compile, or take what the same sources gave before."""
        key = _digest(runtime.name, files)
        if key in self._builds:
            self._builds.move_to_end(key)
            return self._builds[key]
        files = {**files, **await self._prepare(runtime), **_own_files(runtime, step)}
        ran = await self._run(runtime, step, files)
        built = ran, dict(ran.files)
        if ran.ending is Ending.EXIT:
            self._builds[key] = built
        while len(self._builds) > _KEPT_BUILDS or _size(self._builds) > _KEPT_BYTES:
            self._builds.popitem(last=False)
        return built

    async def _prepare(self, runtime: Runtime) -> Files:
        """Make what every compilation of a language uses, once."""
        step = runtime.prepare
        if step is None:
            return {}
        async with self._preparing:
            if runtime.name not in self._prepared:
                ran = await self._run(runtime, step, _own_files(runtime, step))
                if not ran.succeeded or set(step.collect) - set(ran.files):
                    said = ran.stderr.decode(errors="replace").strip()[-300:]
                    raise SandboxFailed(f"{runtime.name}: prepare: {ran.ending} {ran.code} {said}")
                self._prepared[runtime.name] = dict(ran.files)
        return self._prepared[runtime.name]

    async def _is_malformed(self, runtime: Runtime, files: Files) -> bool:
        """Ask an interpreter whether a program that crashed was one at all."""
        if runtime.check is None:
            return False
        ran = await self._run(runtime, runtime.check, files)
        return ran.ending is Ending.EXIT and ran.code != 0

    async def _run(
        self,
        runtime: Runtime,
        step: Step,
        files: Files,
        limits: Limits | None = None,
        nonce: str = "",
    ) -> Ran:
        command = Command(
            argv=step.argv,
            files=files,
            env={**runtime.toolchain.env, **step.env},
            stdin=f"{nonce}\n".encode(),
            collect=step.collect,
            toolchain=runtime.name,
            light=True,
        )
        return await self.sandbox.run(command, _bounds(step, limits))


def _bounds(step: Step, limits: Limits | None) -> Limits:
    """The judge's limits for a candidate, wide ones for what compiles it; never below the step's
    own."""
    if limits is None:
        limits = Limits(cpu_s=step.cpu_s, wall_s=step.cpu_s * _WALL_TIMES_CPU)
    return replace(
        limits,
        memory_mb=max(limits.memory_mb, step.memory_mb),
        processes=max(limits.processes, step.processes),
        disk_mb=max(limits.disk_mb, step.disk_mb),
    )


def _decided(neutral: NeutralProblem, ran: Ran, nonce: str, limits: Limits) -> tuple[Outcome, str]:
    if ran.ending in _BY_ENDING:
        return _BY_ENDING[ran.ending], ""
    if ran.ending is Ending.SIGNAL:
        return Outcome.CRASHED, f"signal {ran.signal}"
    if ran.code != 0:
        return Outcome.CRASHED, f"status {ran.code}"
    _, mark, rest = ran.stdout.rpartition(b"\n" + nonce.encode() + b" ")
    if not mark:
        if len(ran.stdout) >= limits.output_bytes:
            return Outcome.OUTPUT, "its answers were lost behind what it printed"
        return Outcome.CRASHED, "left with 0 before it was done"
    wrong = wrong_case(neutral, rest.partition(b"\n")[0].decode(errors="replace"))
    return (Outcome.PASSED, "") if wrong is None else (Outcome.WRONG, f"case {wrong}")


def _own_files(runtime: Runtime, step: Step) -> Files:
    return {name: runtime.template(name).encode() for name in step.files}


def _digest(language: str, files: Files) -> bytes:
    digest = hashlib.sha256(language.encode())
    for name in sorted(files):
        digest.update(b"%s\0%d\0" % (name.encode(), len(files[name])) + files[name])
    return digest.digest()


def _size(builds: Mapping[bytes, tuple[Ran, Files]]) -> int:
    return sum(len(content) for _, files in builds.values() for content in files.values())
