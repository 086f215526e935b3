"""The commands as a script uses them: one JSON object on stdout, exit codes, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import main

pytestmark = pytest.mark.needs("sandbox")
EVALKIT = (sys.executable, "-c", "import sys; from evalkit.cli import main; sys.exit(main())")


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_doctor_says_that_programs_are_contained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--only", "network", "--json"]) == 0
    found = said(capsys)
    assert found["contained"] is True
    assert {check["name"].partition(",")[0] for check in found["checks"]} == {"network"}
    assert found["languages"]["python"] is True


def test_doctor_that_checked_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--only", "no such probe", "--json"]) == 1
    assert said(capsys)["contained"] is False


def test_counts_of_all_languages_stand_at_the_top(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["passk", "--references", "--problems", "3", "-n", "2", "--json"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    found = said(capsys)
    assert (found["passed"], found["failed"], found["unjudged"]) == (6, 0, 0)
    assert found["outcomes"] == {"passed": 6}


def test_all_languages_are_those_installed_and_the_others_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--benchmark", "humaneval", "--lang", "all", "--json"]) == 0
    found = said(capsys)
    assert list(found["languages"]) == ["python"]
    assert found["skipped"] == {}
    assert (found["passed"], found["failed"], found["unjudged"]) == (164, 0, 0)


def test_a_run_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*EVALKIT, "passk", "--references", "--problems", "30", "-n", "4", "--out", str(run)]
    verdicts = run / "verdicts.jsonl"
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (verdicts.exists() and verdicts.read_bytes().count(b"\n") >= 5):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    judged = verdicts.read_bytes().count(b"\n")
    assert judged < 120, "it was done before it was killed"
    again = subprocess.run([*words, "--json"], capture_output=True, timeout=300, check=True)
    assert json.loads(again.stdout)["passed"] == 120
    rows = [json.loads(line) for line in verdicts.read_text().splitlines()]
    assert len(rows) == len({(row["task_id"], row["index"]) for row in rows}) == 120


@pytest.mark.parametrize(
    ("words", "named"),
    [(["-k", "0"], "k: 0"), (["--problems", "-3"], "problems: -3"), (["-n", "0"], "n: 0")],
)
def test_numbers_that_score_nothing_are_refused(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["passk", "--references", "--out", str(tmp_path / "run"), *words]) == 2
    assert named in capsys.readouterr().err


def test_an_interrupted_run_says_so_and_goes_on_later(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*EVALKIT, "passk", "--references", "--problems", "20", "-n", "40", "--out", str(run)]
    verdicts = run / "verdicts.jsonl"
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (verdicts.exists() and verdicts.read_bytes().count(b"\n") >= 5):
            assert process.poll() is None, "it ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second = subprocess.run(words, capture_output=True, text=True, timeout=120)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert second.returncode == 3
    assert "another evalkit is at work" in second.stderr
    assert process.returncode == 130, told
    assert told.endswith("evalkit: interrupted\n")
    again = subprocess.run([*words, "--json"], capture_output=True, timeout=300, check=True)
    assert json.loads(again.stdout)["passed"] == 800
