"""Holes are made at fixed places, put together they give the reference, and each is looked at."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from evalkit.benchmarks.core import Core
from evalkit.benchmarks.infilling import Infilling, holes
from evalkit.problem import Problem
from tabwright.errors import UnknownLanguage
from tests.unit.evalkit.test_core import run_check
from tests.unit.evalkit.test_mutants import FAILURES as RAISED

INFILLING = Infilling()
PROBLEMS = INFILLING.problems("python")
FAILURES = (*RAISED, NameError, SyntaxError)
OURS = [problem for problem in PROBLEMS if problem.task_id.startswith("core/")]


def kind(problem: Problem) -> str:
    return problem.task_id.split("/")[-2]


def test_all_three_kinds_are_there_and_most_references_have_each() -> None:
    counts = Counter(kind(problem) for problem in PROBLEMS)
    assert set(counts) == {"single-line", "multi-line", "random-span"}
    assert min(counts.values()) > 150
    assert len({problem.task_id for problem in PROBLEMS}) == len(PROBLEMS)


def test_holes_are_the_same_every_time() -> None:
    again = Infilling().problems("python")
    assert [(p.task_id, p.prompt, p.suffix) for p in again] == [
        (p.task_id, p.prompt, p.suffix) for p in PROBLEMS
    ]


def test_prompt_reference_and_suffix_give_the_whole() -> None:
    wholes = {p.task_id: p.prompt + (p.reference or "") for p in Core().problems("python")}
    for problem in OURS:
        whole = wholes["/".join(problem.task_id.split("/")[:2])]
        assert problem.prompt + (problem.reference or "") + (problem.suffix or "") == whole


def test_a_hole_is_of_its_kind() -> None:
    for problem in PROBLEMS:
        reference = problem.reference or ""
        lines = reference.count("\n") + 1
        assert reference == reference.strip()
        assert problem.suffix is not None
        if kind(problem) == "single-line":
            assert lines == 1
            assert problem.stop == ("\n",)
            assert problem.suffix.startswith(("\n", " ")) or not problem.suffix
            assert problem.prompt.split("\n")[-1].strip() == ""
        elif kind(problem) == "multi-line":
            assert lines >= 2
            assert problem.prompt.split("\n")[-1].strip() == ""
        else:
            assert 6 <= len("".join(reference.split())) <= 120


@pytest.mark.parametrize("problem", OURS, ids=lambda problem: problem.task_id)
def test_the_reference_fills_the_hole_and_nothing_does_not(problem: Problem) -> None:
    suffix = problem.suffix or ""
    run_check(problem, (problem.reference or "") + suffix)
    with pytest.raises(FAILURES):
        run_check(problem, suffix)


def test_what_is_left_out_has_a_reason_and_is_not_asked() -> None:
    assert INFILLING.left_out
    assert not set(INFILLING.left_out) & {problem.task_id for problem in PROBLEMS}
    assert all(reason.startswith("the tests pass with") for reason in INFILLING.left_out.values())


def test_comments_and_blank_lines_are_no_holes() -> None:
    body = "    # one\n\n    x = 1\n    # two\n"
    problem = Problem("t/1", "python", "def f():\n", reference=body)
    singles = [body[h.start : h.end] for h in holes(problem) if h.kind == "single-line"]
    assert singles == ["x = 1"]


def test_a_file_of_the_users_is_used_alone(tmp_path: Path) -> None:
    row = {
        "task_id": "mine/1",
        "prompt": "def add(a, b):\n",
        "entry_point": "add",
        "canonical_solution": "    total = a + b\n    return total\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    problems = Infilling(file).problems("python")
    assert {p.task_id.split("/")[0] for p in problems} == {"mine"}
    assert [kind(p) for p in problems] == ["single-line"] * 2 + ["multi-line", "random-span"]
    assert all(p.tests["setup"] == row["prompt"] + row["canonical_solution"] for p in problems)


def test_there_are_python_holes_only() -> None:
    with pytest.raises(UnknownLanguage, match="rust"):
        INFILLING.problems("rust")
