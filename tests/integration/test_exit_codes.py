"""Every documented exit code, from the real command, and --json of every command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evalkit.commands import COMMANDS

EVALKIT = (sys.executable, "-c", "import sys; from evalkit.cli import main; sys.exit(main())")
FIRST = ["--problems", "1", "--json"]
# How a command ends, by its words; {run} is a folder.
ENDINGS = {
    ("estimate", "--n", "2", "--c", "1"): 0,
    ("estimate", "--n", "1", "--c", "1", "-k", "2"): 2,
    ("passk",): 2,
    ("no-such-command",): 2,
    ("passk", "--references", "--benchmark", "humanevil"): 2,
    ("report", "{run}/nothing"): 2,
    ("passk", "--samples", "{run}/wrong.jsonl", "--fail-under", "pass@1=0.5", *FIRST): 1,
    ("passk", "--samples", "{run}/wrong.jsonl", "--fail-under", "pass@1=0", *FIRST): 0,
    ("passk", "--samples", "{run}/wrong.jsonl", "--fail-under", "pass@3=0.5", *FIRST): 2,
    ("passk", "--endpoint", "http://127.0.0.1:9", *FIRST): 3,
    ("passk", "--benchmark", "core", "--path", "{run}/broken", "--references"): 4,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a sample that is wrong, and a problem whose reference is."""
    row = {"task_id": "HumanEval/0", "completion": "    return None\n"}
    (tmp_path / "wrong.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    folder = tmp_path / "broken" / "twice"
    (folder / "solutions").mkdir(parents=True)
    cases = [{"args": [n], "returns": 2 * n} for n in range(8)]
    problem = {
        "id": "own/01",
        "name": "twice",
        "text": "Return twice the number.",
        "parameters": [["number", "int"]],
        "returns": "int",
        "cases": cases,
        "examples": [0],
    }
    (folder / "problem.json").write_text(json.dumps(problem), encoding="utf-8")
    (folder / "solutions" / "python.txt").write_text("    return number\n", encoding="utf-8")
    return tmp_path


def evalkit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    filled = [word.replace("{run}", str(folder)) for word in words]
    return subprocess.run(
        [*EVALKIT, *filled], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize(
    ("words", "code"),
    ENDINGS.items(),
    ids=lambda v: " ".join(v)[:60] if isinstance(v, tuple) else str(v),
)
def test_a_command_ends_with_the_documented_code(
    run: Path, words: tuple[str, ...], code: int
) -> None:
    done = evalkit(run, *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code in (2, 3, 4):
        assert done.stdout == "", "what went wrong belongs on stderr"
        assert done.stderr.strip()


@pytest.mark.needs("sandbox")
def test_an_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    words = ["passk", "--references", "-n", "1000", "--out", str(tmp_path / "run")]
    with subprocess.Popen([*EVALKIT, *words], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "verdicts.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_offers_json(tmp_path: Path, name: str) -> None:
    words = ("toolchains", "install") if name == "toolchains" else (name,)
    done = evalkit(tmp_path, *words, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
