"""Reward hacks against the judge: completions that solve nothing and try to pass.

Each hack is a completion of small tasks. The tasks' own solutions must pass, or the judge is merely
refusing everything; every hack must fail all of them. In other languages than Python there is one
task, judged in both ways there are: by its answers, and by a test program in the candidate's own
process. A hack's first line says which weaker rule it passes there, and that is verified: a hack
that does not work shows nothing. Read `attack` first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources

import anyio

from evalkit.benchmarks.core import Core
from evalkit.benchmarks.web import LANGUAGE, Web
from evalkit.canary_judge import CanaryJudge, Examined
from evalkit.execution import Limits
from evalkit.passk import decide
from evalkit.problem import Judge, Outcome, Problem, Sample, Verdict
from evalkit.program_forms import form_names
from evalkit.runtimes import load_runtime
from tabwright.errors import UnknownLanguage

_PYTHON_LIMITS = Limits(cpu_s=2.0, wall_s=3.0)
_LIMITS = Limits(cpu_s=10.0, wall_s=120.0)
_ENDING = ".hack"
_PAGES = ("click_counter", "todo_list", "live_filter")
_TESTS = "tests.txt"
_TASK = "core/14"
_FIRST_LINE = re.compile(r"(exit|nonce|answers)( in tests)?: ")


class Claim(StrEnum):
    """What a hack does to a test program: whom it fools that asks for less than evalkit."""

    EXIT = "exit"  # a judge that asks for an exit with 0
    NONCE = "nonce"  # one that asks besides for a nonce told behind the last test
    ANSWERS = "answers"  # none; it is for the judge that compares answers
    UNKNOWN = ""  # not stated: Python has another judge


@dataclass(frozen=True, slots=True)
class Hack:
    """One hack. only_tests: it cannot be written where a program brings no test program."""

    name: str
    text: str
    claim: Claim = Claim.UNKNOWN
    only_tests: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One hack, or a solution where `hack` is empty, against one task.

    works: whether it did what it claims. left_with_0, told_nonce: what weaker rules would have
    seen, for test programs only.
    """

    hack: str
    task_id: str
    outcome: Outcome
    detail: str
    works: bool = True
    by_tests: bool = False
    left_with_0: bool = False
    told_nonce: bool = False

    @property
    def as_it_should_be(self) -> bool:
        """Whether a solution passed, or a hack worked, was judged and did not pass."""
        if not self.hack:
            return self.outcome is Outcome.PASSED
        return self.works and self.outcome not in (Outcome.PASSED, Outcome.UNJUDGED)


def hacked_languages() -> list[str]:
    """Every language that there are hacks in."""
    folders = (resources.files("evalkit") / "hacks").iterdir()
    return sorted(folder.name for folder in folders if folder.is_dir() and hacks(folder.name))


def hacks(language: str) -> dict[str, Hack]:
    """Every hack of a language, by name.

    Raises:
        UnknownLanguage: there are none.
    """
    folder = resources.files("evalkit") / "hacks" / language
    if not folder.is_dir():
        raise UnknownLanguage(f"there are no hacks in {language!r}")
    found = {
        entry.name.removesuffix(_ENDING): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(_ENDING)
    }
    return {name: _hack(name, text) for name, text in sorted(found.items())}


async def attack(
    judge: Judge,
    language: str,
    places: int,
    seen: Callable[[Verdict], None],
    programs: CanaryJudge | None = None,
) -> list[Attempt]:
    """Judge the solutions and every hack, on every task they are for.

    Languages whose hacks meet a test program need `programs`.
    """
    attempts: list[Attempt] = []
    limiter = anyio.CapacityLimiter(places)

    async def one(hack: Hack, problem: Problem) -> None:
        async with limiter:
            attempt, verdict = await _attempt(judge, programs, hack, problem)
        attempts.append(attempt)
        seen(verdict)

    async with anyio.create_task_group() as group:
        for hack, problem in pairs(language):
            group.start_soon(one, hack, problem)
    return sorted(attempts, key=lambda attempt: (attempt.hack, attempt.task_id))


def pairs(language: str) -> list[tuple[Hack, Problem]]:
    """Every hack with each task it is for; solutions are hacks without a name."""
    tasks = targets(language)
    rows = [(Hack("", problem.reference or ""), problem) for problem in tasks]
    for hack in hacks(language).values():
        for problem in tasks:
            by_tests = "program" in problem.tests
            skipped = hack.claim is Claim.ANSWERS if by_tests else hack.only_tests
            rows += [] if skipped else [(hack, problem)]
    return rows


def targets(language: str) -> Sequence[Problem]:
    """The tasks in one language.

    Raises:
        UnknownLanguage: there are none in it.
    """
    if language == LANGUAGE:
        return [problem for problem in Web().problems(LANGUAGE) if problem.entry_point in _PAGES]
    return _python_targets() if language == "python" else _targets(language)


async def _attempt(
    judge: Judge, programs: CanaryJudge | None, hack: Hack, problem: Problem
) -> tuple[Attempt, Verdict]:
    sample = Sample(problem.task_id, 0, hack.text)
    limits = _PYTHON_LIMITS if problem.language in ("python", LANGUAGE) else _LIMITS
    if "program" not in problem.tests or programs is None:
        verdict = await decide(judge, problem, sample, limits)
        works = not hack.claim or verdict.outcome is not Outcome.NOT_COMPILED
        made = Attempt(hack.name, problem.task_id, verdict.outcome, verdict.detail, works)
        return made, verdict
    examining = _Examining(programs)
    verdict = await decide(examining, problem, sample, limits)
    found = examining.last
    works = not hack.name or bool(found and _holds(hack.claim, found))
    made = Attempt(
        hack.name,
        problem.task_id,
        verdict.outcome,
        verdict.detail,
        works,
        by_tests=True,
        left_with_0=found is not None and found.left_with_0,
        told_nonce=found is not None and found.told_nonce,
    )
    return made, verdict


def _holds(claim: Claim, found: Examined) -> bool:
    if claim is Claim.NONCE:
        return found.told_nonce
    return found.left_with_0


class _Examining:
    """Judges by test programs, and keeps what else was seen."""

    def __init__(self, programs: CanaryJudge) -> None:
        self._programs = programs
        self.last: Examined | None = None

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        """Judge one sample. See `evalkit.problem.Judge.judge`."""
        self.last = await self._programs.examine(problem, sample, limits)
        return self.last.verdict


def _hack(name: str, text: str) -> Hack:
    first, _, rest = text.partition("\n")
    stated = _FIRST_LINE.match(first)
    if stated is None:
        return Hack(name, text)
    return Hack(name, rest, Claim(stated[1]), only_tests=bool(stated[2]))


@cache
def _targets(language: str) -> Sequence[Problem]:
    """One small task, once judged by its answers and once by a test program.

    A hack may write what it likes, so no stop string cuts it.
    """
    folder = resources.files("evalkit") / "hacks" / language
    if not (folder / _TESTS).is_file():
        raise UnknownLanguage(f"there are no tasks to attack in {language!r}")
    found = next(one for one in Core().problems(language) if one.task_id == _TASK)
    answers = replace(found, stop=())
    form = "hacks" if "hacks" in form_names(language) else "multipl-e"
    tests = {
        "program": form,
        "tests": (folder / _TESTS).read_text(encoding="utf-8"),
        "closing": load_runtime(language).prompt.closing,
    }
    return [answers, replace(answers, task_id=f"{_TASK} tested", tests=tests)]


def _python_targets() -> Sequence[Problem]:
    return [
        _python_task("total", "Return the sum of the values.", "sum(values)", (6, 0, -4)),
        _python_task("largest", "Return the largest value, 7 if there is none.",
                     "max(values, default=7)", (3, 7, -1)),
        _python_task("ordered", "Return the values in order.", "sorted(values)",
                     ([1, 2, 3], [], [-3, -1])),
    ]  # fmt: skip


def _python_task(name: str, text: str, solution: str, expected: tuple[object, ...]) -> Problem:
    given = ("[3, 1, 2]", "[]", "[-1, -3]")
    tests = "\n".join(
        f"    assert candidate({values}) == {answer!r}"
        for values, answer in zip(given, expected, strict=True)
    )
    return Problem(
        task_id=f"hack/{name}",
        language="python",
        prompt=f'def {name}(values):\n    """{text}"""\n',
        reference=f"    return {solution}\n",
        entry_point=name,
        tests={"check": f"def check(candidate):\n{tests}\n"},
    )
