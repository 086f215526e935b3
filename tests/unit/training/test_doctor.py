"""Does the doctor name the slow rank, and measure what is there?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tabwright.cli import main as tabwright
from training.doctor.diagnosis import Measured, diagnose, table

ROOT = Path(__file__).parents[3]


def node(rank: int, *, matmul: float = 400.0, disk: float | None = 2.0) -> Measured:
    return Measured(rank, f"node-{rank}", "NVIDIA H100", matmul, 3000.0, 40.0, disk)


def test_the_slow_rank_is_named_with_the_figure() -> None:
    ranks = [node(0), node(1), node(2, matmul=280.0), node(3, disk=0.4)]
    found = diagnose(ranks, 0.2, checkpoint_bytes=80_000_000_000)
    assert found.slow == {
        2: {"matmul_tflops": pytest.approx(0.3)},
        3: {"disk_gb_s": pytest.approx(0.8)},
    }
    assert found.checkpoint_s == {"node-0": 10, "node-1": 10, "node-2": 10, "node-3": 50}
    lines = table(ranks, found)
    assert lines[3].endswith("matmul 30% below")
    assert lines[4].endswith("disk 80% below")
    assert lines[1].endswith("-")


def test_ranks_that_are_alike_are_well() -> None:
    assert not diagnose([node(0), node(1, matmul=390.0), node(2, disk=None)], 0.1).slow


@pytest.mark.parametrize("words", [["--nproc", "0"], ["--tolerance", "1"], ["--megabytes", "0"]])
def test_a_wrong_flag_is_named(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert tabwright(["train", "doctor", *words]) == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.slow
def test_two_ranks_are_measured_under_torchrun(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    line = [sys.executable, "-m", "tabwright", "train", "doctor", "--nproc", "2", "--config",
            "tiny", "--folder", str(tmp_path / "runs"), "--megabytes", "16", "--json",
            "--tolerance", "0.99", "--precision", "fp32"]  # fmt: skip
    done = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert [one["rank"] for one in told["ranks"]] == [0, 1]
    for one in told["ranks"]:
        assert one["matmul_tflops"] > 0
        assert one["memory_gb_s"] > 0
        assert one["next_rank_gb_s"] > 0
    assert [one["disk_gb_s"] is None for one in told["ranks"]] == [False, True]
    assert told["checkpoint_s"]
    assert not list((tmp_path / "runs").iterdir())
