"""Hacks in every language do what they claim, and none is accepted; test programs in a sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.canary_judge import CanaryJudge
from evalkit.cli import main
from evalkit.execution import Limits
from evalkit.hacking import Claim, hacked_languages, hacks
from evalkit.problem import Outcome, Problem, Sample
from evalkit.registry import load_benchmark
from evalkit.runtimes import runtime_names
from evalkit.session import open_sandbox
from evalkit.toolchains import lacks
from tests.conftest import CORE_LANGUAGES

JAVASCRIPT = {
    "task_id": "JavaScript/0",
    "prompt": "const twice = (n) => {\n",
    "declaration": "const twice = (n) => {\n",
    "canonical_solution": "  return 2 * n;\n}\n",
    "test": "const test = () => {\n"
    "  console.assert(twice(2) === 4)\n  console.assert(twice(5) === 10)\n}\ntest()\n",
}
TRANSLATED = {
    "name": "H_0_twice",
    "language": "js",
    "prompt": "function twice(n){\n",
    "tests": "const assert = require('node:assert');\n\nfunction test() {\n"
    "  let candidate = twice;\n  assert.deepEqual(candidate(2),4);\n}\n\ntest();\n",
    "stop_tokens": ["\nfunction "],
}
LIMITS = Limits(cpu_s=10, wall_s=120)


def others() -> list[object]:
    return [
        pytest.param(name, marks=() if name in CORE_LANGUAGES else (pytest.mark.slow,))
        for name in runtime_names()
        if name not in ("python", "html")
    ]


def loaded(name: str, row: object, folder: Path) -> Problem:
    file = folder / "humaneval_rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    (problem,) = load_benchmark(name, file).problems("javascript")
    return problem


@pytest.mark.parametrize(
    "language", [name for name in runtime_names() if name not in ("python", "html")]
)
def test_every_language_has_hacks_that_say_what_they_do(language: str) -> None:
    found = hacks(language).values()
    assert language in hacked_languages()
    assert len(found) >= 4
    assert all(hack.claim is not Claim.UNKNOWN and hack.text for hack in found)
    assert {Claim.EXIT, Claim.NONCE} <= {hack.claim for hack in found}


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize("language", others())
def test_every_hack_works_and_none_is_accepted(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if why := lacks(language):
        pytest.skip(why)
    status = main(["hack-test", "--lang", language, "--json"])
    report = json.loads(capsys.readouterr().out)
    row = report["languages"][language]
    assert (status, row["not_as_it_should_be"]) == (0, [])
    assert report["accepted"] == 0
    assert row["accepted_by_exit"] == row["tested"] >= 3
    assert row["accepted_by_nonce"] >= 1
    assert row["hacks"] == len(hacks(language))


@pytest.mark.needs("sandbox")
def test_languages_judged_by_one_command_do_not_share_wrong_tests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if why := lacks("perl"):
        pytest.skip(why)
    main(["hack-test", "--lang", "perl,shell", "--json"])
    languages = json.loads(capsys.readouterr().out)["languages"]
    assert {name: row["outcomes"].get("unjudged", 0) for name, row in languages.items()} == {
        "perl": 0,
        "shell": 0,
    }
    assert all(row["outcomes"]["cheated"] for row in languages.values())


@pytest.mark.anyio
@pytest.mark.needs("sandbox")
@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("  return n + n;\n}\n", Outcome.PASSED),
        ("  return n + 2;\n}\n", Outcome.CRASHED),
        ("  return (\n", Outcome.NOT_COMPILED),
        ("  process.exit(0);\n}\n", Outcome.CRASHED),
        ("  console.assert = () => {};\n  return 4;\n}\n", Outcome.CHEATED),
        ("  for (;;);\n}\n", Outcome.CPU_TIME),
    ],
)
async def test_a_test_program_is_believed_only_if_it_can_fail(
    completion: str, outcome: Outcome, tmp_path: Path
) -> None:
    if why := lacks("javascript"):
        pytest.skip(why)
    problem = loaded("humaneval-x", JAVASCRIPT, tmp_path)
    limits = LIMITS if outcome is not Outcome.CPU_TIME else Limits(cpu_s=1, wall_s=120)
    async with open_sandbox("process") as sandbox:
        judge = CanaryJudge(sandbox)
        verdict = await judge.judge(problem, Sample(problem.task_id, 2, completion), limits)
    assert (verdict.outcome, verdict.index) == (outcome, 2), verdict


@pytest.mark.anyio
@pytest.mark.needs("sandbox")
async def test_rows_without_a_reference_are_judged_too(tmp_path: Path) -> None:
    problem = loaded("multipl-e", TRANSLATED, tmp_path)
    rows = {
        "  return 2 * n;\n}\n": Outcome.PASSED,
        "  return 3 * n;\n}\n": Outcome.CRASHED,
        "  return [];\n}\nrequire('assert').deepEqual = () => {};\n": Outcome.CHEATED,
    }
    async with open_sandbox("process") as sandbox:
        judge = CanaryJudge(sandbox)
        for completion, outcome in rows.items():
            verdict = await judge.judge(problem, Sample(problem.task_id, 0, completion), LIMITS)
            assert verdict.outcome is outcome, verdict


@pytest.mark.needs("sandbox")
def test_check_runs_the_references_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "humaneval_js.jsonl"
    behind = "  return both(n);\n}\n\nfunction both(n) {\n  return n + n;\n}\n"
    other = {**JAVASCRIPT, "task_id": "JavaScript/9", "canonical_solution": behind}
    file.write_text(f"{json.dumps(JAVASCRIPT)}\n{json.dumps(other)}\n")
    words = ["check", "--benchmark", "humaneval-x", "--path", str(file), "--lang", "javascript"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] == 2
