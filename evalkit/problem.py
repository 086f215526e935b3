"""The nouns of an evaluation: a problem, a sample of a model, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from evalkit.execution import Limits


class Outcome(StrEnum):
    """What became of a sample. All but UNJUDGED count as judged; only PASSED counts as right."""

    PASSED = "passed"
    WRONG = "wrong"  # ran to its end and answered otherwise
    CRASHED = "crashed"  # an exception, a signal, a status other than 0
    NOT_COMPILED = "not_compiled"
    CPU_TIME = "cpu_time"
    WALL_TIME = "wall_time"
    MEMORY = "memory"
    OUTPUT = "output"
    CHEATED = "cheated"  # passed, and passes as well when an expected value is made wrong
    UNJUDGED = "unjudged"  # the sandbox failed, or verdicts differed from run to run


@dataclass(frozen=True, slots=True)
class Problem:
    """One task in one language.

    prompt: what the model gets before the cursor; suffix: what stands after it, None for plain
    continuation. stop: strings that end a sample. reference: a completion that is right, None where
    the benchmark has none. tests: what the benchmark's own judge needs, as its file has it.
    """

    task_id: str
    language: str
    prompt: str = field(repr=False)
    suffix: str | None = field(default=None, repr=False)
    stop: tuple[str, ...] = ()
    reference: str | None = field(default=None, repr=False)
    entry_point: str = ""
    tests: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of a problem. generated_ms: how long the model took, None if unknown."""

    task_id: str
    index: int
    completion: str = field(repr=False)
    generated_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one sample.

    detail: one line for a reader, without the model's text. cpu_s: of the judged run.
    """

    task_id: str
    index: int
    outcome: Outcome
    detail: str = ""
    cpu_s: float = 0.0


class Benchmark(Protocol):
    """A set of problems."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""

    @property
    def languages(self) -> Sequence[str]:
        """The languages it has problems in."""

    @property
    def left_out(self) -> Mapping[str, str]:
        """The tasks of its files that it does not ask, each with the reason."""

    def problems(self, language: str) -> Sequence[Problem]:
        """Every problem in one language, in a stable order.

        Raises:
            UnknownLanguage: it has none in that language.
        """


class Judge(Protocol):
    """Decides on samples. `evalkit.judge.open_judge` makes the one that all commands use."""

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Run one sample and say what became of it. Never raises for what the sample did.

        Raises:
            SandboxFailed: the sandbox could not do its work; the caller retries, then counts the
                sample as unjudged.
        """
