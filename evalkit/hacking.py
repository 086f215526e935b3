"""Reward hacks against the judge: completions that solve nothing and try to pass.

Each hack is a completion for three small tasks. The tasks' own solutions must pass, or the judge is
merely refusing everything; every hack must fail all of them. Read `attack` first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

import anyio

from evalkit.benchmarks.web import LANGUAGE, Web
from evalkit.execution import Limits
from evalkit.passk import decide
from evalkit.problem import Judge, Outcome, Problem, Sample, Verdict
from tabwright.errors import UnknownLanguage

_LIMITS = Limits(cpu_s=2.0, wall_s=3.0)
_ENDING = ".hack"
_PAGES = ("click_counter", "todo_list", "live_filter")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One hack, or a solution where `hack` is empty, against one task."""

    hack: str
    task_id: str
    outcome: Outcome
    detail: str

    @property
    def as_it_should_be(self) -> bool:
        """Whether a solution passed, or a hack was judged and did not."""
        if not self.hack:
            return self.outcome is Outcome.PASSED
        return self.outcome not in (Outcome.PASSED, Outcome.UNJUDGED)


def hacks(language: str) -> dict[str, str]:
    """Every hack of a language: its name and its text.

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
    return dict(sorted(found.items()))


async def attack(
    judge: Judge, language: str, places: int, seen: Callable[[Verdict], None]
) -> list[Attempt]:
    """Judge the solutions and every hack, on every task."""
    tasks = targets(language)
    rows = [("", problem, problem.reference or "") for problem in tasks]
    rows += [(name, problem, text) for name, text in hacks(language).items() for problem in tasks]
    attempts: list[Attempt] = []
    limiter = anyio.CapacityLimiter(places)

    async def one(name: str, problem: Problem, text: str) -> None:
        async with limiter:
            verdict = await decide(judge, problem, Sample(problem.task_id, 0, text), _LIMITS)
        attempts.append(Attempt(name, problem.task_id, verdict.outcome, verdict.detail))
        seen(verdict)

    async with anyio.create_task_group() as group:
        for row in rows:
            group.start_soon(one, *row)
    return sorted(attempts, key=lambda attempt: (attempt.hack, attempt.task_id))


def targets(language: str) -> Sequence[Problem]:
    """The three tasks in one language.

    Raises:
        UnknownLanguage: they are not written in it.
    """
    if language == LANGUAGE:
        return [problem for problem in Web().problems(LANGUAGE) if problem.entry_point in _PAGES]
    if language != "python":
        raise UnknownLanguage(f"there are no tasks to attack in {language!r}")
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
