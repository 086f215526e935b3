"""Poison on one rank of two: do both act together, is it named, and does the run recover?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tiny_run import TINY_RUN
from tests.fakes.tiny_shards import write_tiny_shards

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
CONFIG = (
    TINY_RUN
    + """
[schedule]
steps = 48
warmup_steps = 2
[run]
precision = "fp32"
eval_every = 48
eval_rows = 4
threads = 1
[checkpoint]
every = 12
keep = 9
[spikes]
window = 8
least = 4
[tracking]
holes = 0
prompts = []
"""
)
BATCH = 4
AT = 40  # the poisoned step, counted from 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spikes")
    (root / "tiny.toml").write_text(CONFIG)
    return write_tiny_shards(root / "shards").parent


def train(data: Path, name: str, rows: str, nan: int, *more: str, **spikes: str) -> Path:
    out = data / name
    out.mkdir()
    values = (*more, *(f"spikes.{key}={value}" for key, value in spikes.items()))
    sets = [word for value in values for word in ("--set", value)]
    options = ["--config", str(data / "tiny.toml"), "--data", str(data / "shards")]
    options += ["--out", str(out), *sets]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.poisoned_training", str(out), rows, str(nan),
         "--", *options],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == (3 if "stop" in spikes.values() else 0), output[-3000:]
    return out


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def last_losses(out: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in lines(out / "metrics.jsonl")}


@pytest.fixture(scope="module")
def rolled_back(data: Path) -> Path:
    """Rank 1's rows of one step are poison."""
    mine = [number for number in range((AT - 1) * BATCH, AT * BATCH) if number % 2]
    return train(data, "back", ",".join(map(str, mine)), 0, policy="rollback", rollback_steps="6")


def test_both_ranks_act_together_on_poison_that_one_has(rolled_back: Path) -> None:
    one, other = (lines(rolled_back / f"rank-{rank}.jsonl") for rank in (0, 1))
    assert one == other
    assert [step for step, accepted, _ in one if not accepted] == [AT]
    assert [AT, False, AT - 6] in one


def test_the_poisoned_samples_are_named_with_their_files(rolled_back: Path) -> None:
    (spike,) = lines(rolled_back / "spikes.jsonl")
    assert spike["step"] == AT
    assert spike["again"]
    assert spike["rows"] == [(AT - 1) * BATCH + 1, (AT - 1) * BATCH + 3]
    assert spike["samples"]
    for sample in spike["samples"]:
        assert sample["repo"] == "shapes"
        assert sample["path"].startswith("src/shapes_")


def test_the_run_goes_back_and_recovers(rolled_back: Path) -> None:
    steps = [row["step"] for row in lines(rolled_back / "metrics.jsonl")]
    assert steps == [*range(1, AT + 1), *range(25, 49)]
    spiked = next(row for row in lines(rolled_back / "metrics.jsonl") if "spike" in row)
    losses = last_losses(rolled_back)
    assert losses[AT] < spiked["loss"] - 0.5
    assert losses[48] < losses[24]


@pytest.mark.slow
def test_a_chip_that_fails_once_costs_a_step_and_no_sample(data: Path) -> None:
    out = train(data, "nan", "", AT, policy="skip")
    one, other = (lines(out / f"rank-{rank}.jsonl") for rank in (0, 1))
    assert one == other
    (spike,) = lines(out / "spikes.jsonl")
    assert (spike["loss"], spike["again"], spike["samples"]) == (None, False, [])
    losses = last_losses(out)
    assert list(losses) == list(range(1, 49))
    assert losses[48] < losses[24]


@pytest.mark.slow
def test_stop_ends_both_ranks(data: Path) -> None:
    out = train(data, "stop", "", AT, policy="stop")
    assert len(lines(out / "spikes.jsonl")) == 1
    assert max(last_losses(out)) == AT - 1


@pytest.mark.slow
def test_the_stages_of_a_pipeline_act_together(data: Path) -> None:
    """Of poison that all stages read, and of a loss that the last one alone sees go wrong."""
    rows = ",".join(map(str, range((AT - 1) * BATCH, (AT - 1) * BATCH + 2)))
    stages = ("parallel.pipeline=2", "data.micro_rows=1")
    nan = (AT - 10) * BATCH  # the last row of that step
    out = train(data, "stages", rows, nan, *stages, policy="rollback", rollback_steps="6")
    one, other = (lines(out / f"rank-{rank}.jsonl") for rank in (0, 1))
    assert one == other
    assert [step for step, accepted, _ in one if not accepted] == [AT - 10, AT]
    chip, poison = lines(out / "spikes.jsonl")
    assert (chip["loss"], chip["again"], chip["samples"]) == (None, False, [])
    assert poison["again"]
    assert poison["rows"] == [(AT - 1) * BATCH, (AT - 1) * BATCH + 1]
    assert all(sample["path"].startswith("src/shapes_") for sample in poison["samples"])
    losses = last_losses(out)
    assert losses[48] < losses[24]


@pytest.mark.slow
def test_a_stopped_run_is_not_started_again_by_torchrun(data: Path) -> None:
    """Everything is a spike here, so the run stops as soon as there is something to compare."""
    out = data / "stays"
    done = subprocess.run(
        [sys.executable, "-m", "tabwright", "train", "run", "--config", str(data / "tiny.toml"),
         "--data", str(data / "shards"), "--out", str(out), "--max-restarts", "1",
         "--set", "spikes.policy=stop", "--set", "spikes.grad_norm_z=1e-9",
         "--set", "spikes.loss_z=1e-9", "--set", "checkpoint.every=2"],
        cwd=ROOT, text=True, capture_output=True, timeout=300, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr[-3000:]
    assert done.stderr.count("see spikes.jsonl; resume with another") >= 2
    steps = [row["step"] for row in lines(out / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert len(lines(out / "spikes.jsonl")) == 1
    assert len(lines(out / "starts.jsonl")) == 1


@pytest.mark.slow
def test_shared_parameters_go_back_as_whole_ones_do(data: Path) -> None:
    """What was gathered to score the rows again must not outlive the parameters it was of."""
    rows = ",".join(map(str, range((AT - 1) * BATCH, AT * BATCH, 2)))
    out = train(data, "sharded", rows, 0, "parallel.strategy=fsdp", policy="rollback",
                rollback_steps="6")  # fmt: skip
    (spike,) = lines(out / "spikes.jsonl")
    assert spike["rows"] == [(AT - 1) * BATCH, (AT - 1) * BATCH + 2]
    losses = [row["loss"] for row in lines(out / "metrics.jsonl")]
    assert losses[AT : AT + 8] == pytest.approx(losses[24:32], abs=1e-5)
