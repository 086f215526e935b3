"""Judging in a real Ray cluster of this machine: the same verdicts, also with a worker killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from evalkit.registry import load_benchmark

pytestmark = [pytest.mark.needs("sandbox"), pytest.mark.needs("ray"), pytest.mark.slow]
EVALKIT = (sys.executable, "-c", "import sys; from evalkit.cli import main; sys.exit(main())")
PATIENCE_S = 300


def workers(of: int) -> Iterator[psutil.Process]:
    """The processes of the cluster that hold a sandbox."""
    for process in psutil.Process(of).children(recursive=True):
        try:
            if process.cmdline()[0].startswith("ray::_Worker"):
                yield process
        except (psutil.Error, IndexError):
            continue


def test_the_verdicts_are_those_of_one_process(tmp_path: Path) -> None:
    samples = tmp_path / "samples.jsonl"
    with samples.open("w", encoding="utf-8") as file:
        for problem in load_benchmark("humaneval").problems("python")[:6]:
            assert problem.reference is not None
            for body in (
                problem.reference,
                "    return None\n",
                "    raise SystemExit\n",
                "    (\n",
            ):
                row = {"task_id": problem.task_id, "completion": body}
                file.write(json.dumps(row) + "\n")
    found = {}
    for executor in ("local", "ray"):
        run = tmp_path / executor
        words = ["--samples", str(samples), "--problems", "6", "-n", "4", "--executor", executor]
        subprocess.run(
            [*EVALKIT, "passk", *words, "--out", str(run)], check=True, timeout=PATIENCE_S
        )
        rows = map(json.loads, (run / "verdicts.jsonl").read_text().splitlines())
        found[executor] = sorted((row["task_id"], row["index"], row["outcome"]) for row in rows)
    assert len(found["ray"]) == 24
    assert {outcome for _, _, outcome in found["ray"]} == {
        "passed",
        "wrong",
        "crashed",
        "not_compiled",
    }
    assert found["ray"] == found["local"]


def test_a_worker_that_is_killed_makes_no_sample_wrong(tmp_path: Path) -> None:
    run = tmp_path / "run"
    verdicts = run / "verdicts.jsonl"
    words = ["--references", "--problems", "5", "-n", "12", "--executor", "ray", "--jobs", "2"]
    command = [*EVALKIT, "passk", *words, "--out", str(run), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not (verdicts.exists() and verdicts.read_bytes().count(b"\n") >= 5):
            assert process.poll() is None, "it ended before a worker could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        next(workers(process.pid)).kill()
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    report = json.loads(said)
    assert (report["passed"], report["failed"], report["unjudged"]) == (60, 0, 0)
