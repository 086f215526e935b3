"""Mutants differ from their reference by one edit, come in a fixed order, and fail."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from evalkit.execution import Limits
from evalkit.mutants import (
    COUNT,
    Mutant,
    all_mutants,
    chosen_mutants,
    judge_mutants,
    known_survivors,
)
from evalkit.mutations import Edit, edits
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.registry import load_benchmark
from tests.unit.evalkit.test_core import python_problems, run_check

FAILURES = (AssertionError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def applied(source: str, edit: Edit) -> str:
    raw = source.encode()
    return (raw[: edit.start] + edit.text.encode() + raw[edit.end :]).decode()


def made(source: str, language: str, kind: str) -> list[str]:
    return [applied(source, edit) for edit in edits(source, language) if edit.kind == kind]


@pytest.mark.parametrize(
    ("kind", "source", "wanted"),
    [
        ("comparison", "x = (1) < (2)", ["x = (1) <= (2)"]),
        ("comparison", "x = a not in b", ["x = a in b"]),
        ("arithmetic", "x = a // b", ["x = a * b"]),
        ("arithmetic", "x += 1", ["x -= 1"]),
        ("logic", "x = a and b or c", ["x = a and b and c", "x = a or b or c"]),
        ("constant", "x = 'ä', 3", ["x = 'ä', 4", "x = 'ä?', 3"]),
        ("condition", "x = 1 if a else 2", ["x = 1 if not (a) else 2"]),
        ("condition", "x = [y for y in z if y]", ["x = [y for y in z if not (y)]"]),
        ("sign", "x = not a", ["x = a"]),
        ("function", "x = min(a, b)", ["x = max(a, b)"]),
        ("statement", "x = a", ["pass"]),
        ("constant", '"""A text that stands alone: 3"""', []),
        ("constant", "x = f'{3}'", []),
    ],
)
def test_python_is_edited_where_its_tree_says(kind: str, source: str, wanted: list[str]) -> None:
    assert sorted(made(source, "python", kind)) == sorted(wanted)


@pytest.mark.parametrize(
    ("kind", "language", "source", "wanted"),
    [
        ("comparison", "c", "if (a < b) {", ["if (a <= b) {"]),
        ("comparison", "racket", "(if (< a b) 1 2)", ["(if (<= a b) 1 2)"]),
        ("comparison", "bash", "[ $a -lt 3 ]", ["[ $a -le 3 ]"]),
        ("arithmetic", "go", "a + b - c", ["a - b - c", "a + b + c"]),
        ("arithmetic", "rust", "fn f() -> i64 { x }", []),
        ("constant", "php", "return $a1 + 9;", ["return $a1 + 10;"]),
        ("constant", "java", 'return "7";', []),
        ("text", "java", 'return "a" + "\\"";', ['return "a?" + "\\"";', 'return "a" + "\\"?";']),
        ("truth", "r", "TRUE", ["FALSE"]),
        ("direction", "lua", "if a <= b then", ["if a >= b then"]),
        ("comparison", "perl", 'next if $a eq "";', ['next if $a ne "";']),
        ("arithmetic", "haskell", "a `div` b", ["a * b"]),
        ("wrong comparison", "go", "a < b", ["a == b"]),
        ("wrong comparison", "lisp", "(< a b)", ["(= a b)"]),
        ("wrong text", "lisp", '(f "" "a")', ['(f "" "?a")']),
        ("step", "go", "n++", ["n--"]),
        ("far constant", "go", "n := 3", ["n := 5"]),
        ("whole line", "c", "for (;;) {\n  f(x);\n}", ["for (;;) {\n  \n}"]),
        ("whole line", "ruby", "xs.each do", []),
        ("logic", "lua", "return a and b", ["return a or b"]),
        ("function", "javascript", "Math.max(0, x)", ["Math.min(0, x)"]),
    ],
)
def test_other_languages_are_edited_by_rules(
    kind: str, language: str, source: str, wanted: list[str]
) -> None:
    assert sorted(made(source, language, kind)) == sorted(wanted)


@pytest.mark.parametrize("problem", python_problems(), ids=lambda problem: problem.entry_point)
def test_the_chosen_mutants_of_the_core_set_fail(problem: Problem) -> None:
    mutants = chosen_mutants("core", problem)
    assert len(mutants) == COUNT
    assert len({mutant.completion for mutant in mutants} | {problem.reference}) == COUNT + 1
    for mutant in mutants:
        with pytest.raises(FAILURES):
            run_check(problem, mutant.completion)


def test_the_first_mutants_are_of_different_kinds() -> None:
    for problem in python_problems():
        mutants = all_mutants(problem)
        kinds = Counter(mutant.label.split(" at ")[0] for mutant in mutants)
        first = {mutant.label.split(" at ")[0] for mutant in mutants[: len(kinds)]}
        assert first == set(kinds)


def test_every_survivor_on_the_list_is_a_mutant_that_would_be_chosen() -> None:
    for name, languages in known_survivors().items():
        benchmark = load_benchmark(name)
        for language, tasks in languages.items():
            if language not in benchmark.languages:
                continue
            by_id = {p.task_id: p for p in benchmark.problems(language)}
            for task_id, labels in tasks.items():
                assert set(labels) <= {mutant.label for mutant in all_mutants(by_id[task_id])}


def test_the_prompt_and_the_suffix_are_not_edited() -> None:
    problem = Problem("t", "python", "a = 1 + 1\n", "\nb = 2 + 2\n", reference="c = 3 + 3")
    texts = [mutant.completion for mutant in all_mutants(problem)]
    assert "c = 3 - 3" in texts
    assert not [text for text in texts if "a =" in text or "b =" in text]


def test_a_problem_without_a_reference_has_no_mutants() -> None:
    assert all_mutants(Problem("t", "python", "def f():\n    return 1 + 1\n")) == []


class Forgiving:
    """A judge that lets everything pass."""

    async def judge(self, problem: Problem, sample: Sample, limits: Limits) -> Verdict:
        assert limits.cpu_s == 2.0
        return Verdict(problem.task_id, sample.index, Outcome.PASSED)


def test_every_chosen_mutant_is_judged_once() -> None:
    problems = [Problem(f"t/{n}", "python", "", reference="x = 1") for n in range(4)]
    chosen = {p.task_id: [Mutant("a", "x = 2"), Mutant("b", "x = 3")] for p in problems[1:]}
    seen: list[Verdict] = []
    limits = {p.task_id: Limits(cpu_s=2.0) for p in problems}

    async def judged() -> list[tuple[Mutant, Verdict]]:
        return await judge_mutants(problems, chosen, Forgiving(), limits, 2, seen.append)

    found = anyio.run(judged)
    assert sorted(v.task_id for _, v in found) == sorted(["t/1", "t/2", "t/3"] * 2)
    assert len(seen) == 6
