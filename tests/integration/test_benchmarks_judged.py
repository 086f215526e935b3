"""References and mutants of our benchmarks, and files of others' forms, in a real sandbox."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.benchmarks.humaneval import HumanEval
from evalkit.benchmarks.humaneval_rendered import HumanEvalRendered
from evalkit.execution import Limits
from evalkit.mutants import chosen_mutants, judge_mutants
from evalkit.neutral import NeutralProblem
from evalkit.passk import judge_references
from evalkit.problem import Outcome, Sample
from evalkit.registry import load_benchmark
from evalkit.rendering import python_check
from evalkit.session import judging_in
from tests.unit.evalkit.test_benchmark_files import ROWS, solution

pytestmark = [pytest.mark.anyio, pytest.mark.needs("sandbox")]


@pytest.mark.parametrize(("name", "stride"), [("core", 1), ("infilling", 16)])
async def test_references_pass_and_mutants_fail(name: str, stride: int) -> None:
    problems = load_benchmark(name).problems("python")[::stride]
    assert len(problems) >= 40
    async with judging_in("process") as judge:
        verdicts = await judge_references(problems, judge, 2, lambda _: None)
        assert {v.outcome for v in verdicts.values()} == {Outcome.PASSED}
        assert len(verdicts) == len(problems)
        chosen = {p.task_id: chosen_mutants(name, p) for p in problems}
        limits = {p.task_id: Limits(cpu_s=3.0) for p in problems}
        judged = await judge_mutants(problems, chosen, judge, limits, 2, lambda _: None)
    assert len(judged) == 3 * len(problems)
    assert not [m.label for m, v in judged if v.outcome in (Outcome.PASSED, Outcome.UNJUDGED)]


@pytest.mark.parametrize("name", ROWS)
async def test_files_of_other_forms_are_judged(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS[name]) + "\n", encoding="utf-8")
    (problem,) = load_benchmark(name, file).problems("python")
    wanted = {
        problem.reference or solution(name, "return 2 * n"): Outcome.PASSED,
        solution(name, "return n + n"): Outcome.PASSED,
        solution(name, "return n + 1"): Outcome.WRONG,
        solution(name, "raise SystemExit(0)"): Outcome.CRASHED,
    }
    async with judging_in("process") as judge:
        for completion, outcome in wanted.items():
            verdict = await judge.judge(problem, Sample(problem.task_id, 0, completion), Limits())
            assert verdict.outcome is outcome, completion


async def test_the_tables_read_from_humaneval_are_true() -> None:
    whole = {problem.task_id: problem for problem in HumanEval().problems("python")}
    rendered = []
    for one in HumanEvalRendered().problems("javascript"):
        original = whole[one.task_id]
        tests = {
            "setup": original.prompt + (original.reference or ""),
            "check": python_check(NeutralProblem.of(one.tests["neutral"])),
        }
        rendered.append(replace(original, tests=tests))
    async with judging_in("process") as judge:
        verdicts = await judge_references(rendered, judge, 2, lambda _: None)
    assert not [v.task_id for v in verdicts.values() if v.outcome is not Outcome.PASSED]
    assert len(verdicts) == len(rendered) > 110
