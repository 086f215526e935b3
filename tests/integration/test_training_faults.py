"""Does a run whose ranks die or hang end where an undisturbed one does?"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]
import pytest

from tests.fakes.training_worlds import ROOT
from tests.integration.test_training_equalities import root

pytest.importorskip("torch")

__all__ = ["root"]  # the shards of the equalities serve here too
pytestmark = pytest.mark.slow
STEPS = 400
KILLS = 5


class Started:
    """A run of two ranks under torchrun, started the way a user does."""

    def __init__(self, root: Path, name: str, *sets: str) -> None:
        self.out = root / name
        words = [w for s in (f"schedule.steps={STEPS}", *sets) for w in ("--set", s)]
        self.log = root / f"{name}.log"
        with self.log.open("w") as log:
            self.process = self._start(root, words, log)

    def _start(self, root: Path, words: list[str], log: IO[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tabwright", "train", "run", "--nproc", "2",
             "--max-restarts", str(KILLS), "--config", str(root / "config.toml"),
             "--data", str(root / "data" / "shards"), "--out", str(self.out), *words],
            cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def rows(self) -> list[dict[str, float]]:
        file = self.out / "metrics.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(row) for row in text.splitlines(keepends=True) if row.endswith("\n")]

    def rank(self, number: int) -> psutil.Process:
        """The process of a rank; torchrun starts them in order."""
        return psutil.Process(self.process.pid).children()[number]

    def wait_for_rows(self, count: int) -> None:
        deadline = time.monotonic() + 300
        while len(self.rows()) < count:
            assert self.process.poll() is None, self.text()[-3000:]
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(0.02)

    def text(self) -> str:
        return self.log.read_text()

    def end(self) -> str:
        """Wait for a good end; returns the log."""
        try:
            code = self.process.wait(timeout=900)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        assert code == 0, self.text()[-4000:]
        return self.text()


@pytest.fixture(scope="module")
def losses(root: Path) -> dict[int, float]:
    """Of a run that nothing happens to."""
    run = Started(root, "undisturbed")
    run.end()
    return {int(row["step"]): row["loss"] for row in run.rows()}


def test_a_rank_killed_at_random_points_changes_no_loss(
    root: Path, losses: dict[int, float]
) -> None:
    seed = time.time_ns()
    draw = random.Random(seed)
    run = Started(root, "killed")
    for _ in range(KILLS):
        run.wait_for_rows(len(run.rows()) + draw.randint(3, 60))
        run.rank(draw.randrange(2)).kill()
        time.sleep(draw.random() * 3)  # until torchrun starts them again
    run.end()
    rows = run.rows()
    assert {int(row["step"]) for row in rows} == set(range(1, STEPS + 1))
    assert len(rows) > STEPS, f"seed {seed}: no step was made twice"
    assert all(abs(row["loss"] - losses[int(row["step"])]) <= 1e-5 for row in rows), seed


def test_a_rank_that_stands_still_is_named_and_the_run_goes_on(
    root: Path, losses: dict[int, float]
) -> None:
    run = Started(root, "stopped", "run.hang_seconds=15")
    run.wait_for_rows(30)
    run.rank(1).suspend()
    log = run.end()
    assert "rank 1 on" in log
    assert "no sign of life" in log
    rows = run.rows()
    assert all(abs(row["loss"] - losses[int(row["step"])]) <= 1e-5 for row in rows)
    assert rows[-1]["step"] == STEPS
