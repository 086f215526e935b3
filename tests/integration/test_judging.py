"""The judge in a real sandbox: references pass, wrong answers do not, hacks never do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.execution import Limits
from evalkit.hacking import attack, hacks, targets
from evalkit.problem import Outcome, Sample
from evalkit.session import judging_in

pytestmark = [pytest.mark.anyio, pytest.mark.needs("sandbox")]
SOLUTION = "    return sum(values)\n"


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        (SOLUTION, Outcome.PASSED),
        ("    return 0\n", Outcome.WRONG),
        ("    return str(sum(values))\n", Outcome.WRONG),
        ("    return undefined\n", Outcome.CRASHED),
        ("    return (\n", Outcome.NOT_COMPILED),
        ("    while True: pass\n", Outcome.CPU_TIME),
        ("    import time; time.sleep(60)\n", Outcome.WALL_TIME),
        ("    import os; os._exit(0)\n", Outcome.CRASHED),
        ("    return [0] * (1 << 33)\n", Outcome.MEMORY),
        ("    values.append(1)\n    return sum(values) - 1\n", Outcome.PASSED),
    ],
)
async def test_every_outcome_is_told_apart(completion: str, outcome: Outcome) -> None:
    problem = targets("python")[0]
    # A busy machine may need long for a second of processor time.
    wall_s = 6.0 if outcome is Outcome.WALL_TIME else 120.0
    limits = Limits(cpu_s=1.0, wall_s=wall_s, memory_mb=256)
    async with judging_in("process") as judge:
        verdict = await judge.judge(problem, Sample(problem.task_id, 3, completion), limits)
    allowed = {outcome, Outcome.CRASHED} if outcome is Outcome.MEMORY else {outcome}
    assert verdict.outcome in allowed, verdict
    assert verdict.index == 3


async def test_a_sample_leaves_nothing_to_the_next_one_in_the_same_checker() -> None:
    tests = (
        "state = [3, 4]\n"
        "def check(candidate):\n"
        "    assert candidate(state) == 7\n"
        "    assert state == [3, 4]\n"
        "    state.append(len(state))\n"
    )
    deep = "    out = []\n    for _ in range(150): out = [out]\n    return out\n"
    problem = replace(targets("python")[0], tests={"check": tests})
    completions = [SOLUTION, deep, SOLUTION, "    values.clear()\n    return 0\n", SOLUTION]
    async with judging_in("process") as judge:
        outcomes = [
            (await judge.judge(problem, Sample(problem.task_id, i, text), Limits())).outcome
            for i, text in enumerate(completions)
        ]
    good, bad = Outcome.PASSED, Outcome.WRONG
    assert outcomes == [good, bad, good, bad, good]


async def test_no_hack_is_accepted_and_every_solution_is() -> None:
    async with judging_in("process") as judge:
        attempts = await attack(judge, "python", 2, lambda _: None)
    assert [a for a in attempts if not a.as_it_should_be] == []
    assert len(hacks("python")) >= 30
    assert len(attempts) == 3 * (1 + len(hacks("python")))


def test_a_run_over_recorded_samples_ends_in_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = tmp_path / "bench.jsonl"
    samples = tmp_path / "samples.jsonl"
    problem = targets("python")[0]
    row = {
        "task_id": "mine/0",
        "prompt": problem.prompt,
        "entry_point": "total",
        "canonical_solution": SOLUTION,
        "test": problem.tests["check"],
    }
    benchmark.write_text(json.dumps(row) + "\n")
    rows = [{"task_id": "mine/0", "completion": c} for c in (SOLUTION, "    return 1\n")]
    samples.write_text("".join(json.dumps(r) + "\n" for r in rows))
    words = [
        "passk",
        "--benchmark",
        "humaneval",
        "--path",
        str(benchmark),
        "--samples",
        str(samples),
    ]
    words += ["-n", "2", "-k", "1,2", "--out", str(tmp_path / "run"), "--json"]
    assert main([*words, "--fail-under", "pass@1=0.5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["languages"]["python"]["pass_at_k"]["1"]["value"] == 0.5
    assert report["languages"]["python"]["pass_at_k"]["2"]["value"] == 1.0
    assert report["languages"]["python"]["outcomes"] == {"passed": 1, "wrong": 1}
    assert main([*words, "--fail-under", "pass@1=0.6"]) == 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "mine/0" in page
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "pass@1    0.5000" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "run"), str(tmp_path / "run"), "--margin", "0.1"]) == 0
    assert main([*words, "-n", "3"]) == 2


def test_a_benchmark_whose_reference_fails_judges_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = targets("python")[0]
    row = {
        "task_id": "mine/0",
        "prompt": problem.prompt,
        "entry_point": "total",
        "canonical_solution": "    return 1\n",
        "test": problem.tests["check"],
    }
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps(row) + "\n")
    words = ["--benchmark", "humaneval", "--path", str(path)]
    assert main(["check", *words]) == 1
    assert main(["passk", *words, "--references", "--out", str(tmp_path / "run")]) == 4
    assert "mine/0 wrong" in capsys.readouterr().err


def test_all_references_of_humaneval_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--benchmark", "humaneval", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["languages"]["python"]
    assert (row["references"], row["passed"], row["failed"], row["unjudged"]) == (164, 164, 0, 0)
