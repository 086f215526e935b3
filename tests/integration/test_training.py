"""Does the path from raw code to a loadable artifact work, on one process and on two?"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tabwright.artifact import ModelArtifact
from tabwright.cli import main as tabwright
from tabwright.errors import CorruptArtifact
from tests.fakes.tiny_run import TINY_RUN
from training.checkpoint import latest_checkpoint

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
CONFIG = (
    TINY_RUN
    + """
[schedule]
steps = 12
warmup_steps = 2
[run]
precision = "fp32"
eval_every = 6
eval_rows = 4
threads = 1
[checkpoint]
every = 6
keep = 3
"""
)


def _code(number: int) -> str:
    return "\n\n".join(
        f"def area_{number}_{i}(width, height):\n    return width * height + {i}\n"
        for i in range(30)
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards made by the command line from a folder of real files."""
    root = tmp_path_factory.mktemp("data")
    for name in ("seen", "unseen"):
        (root / name).mkdir()
        for number in range(6):
            (root / name / f"shapes_{number}.py").write_text(_code(number + 10 * (name == "seen")))
    (root / "tiny.toml").write_text(CONFIG)
    config = "[tokenizer]\nvocab_size = 600\n[dedup]\nnear = false\n"
    for name in ("seen", "unseen"):
        config += (
            f'[[source]]\nkind = "folder"\nname = "{name}"\nfolder = "{root / name}"\n'
            f'licence = "MIT"\nheld_out = {str(name == "unseen").lower()}\n'
        )
    (root / "data.toml").write_text(config)
    verbs = [
        "train",
        "data",
        "run",
        "--config",
        str(root / "data.toml"),
        "--out",
        str(root / "run"),
    ]
    assert tabwright([*verbs, "--workers", "1"]) == 0
    return root


def _start(data: Path, out: Path, *extra: str, nproc: int = 1) -> subprocess.Popen[str]:
    line = [
        sys.executable, "-m", "tabwright", "train", "run", "--config", str(data / "tiny.toml"),
        "--data", str(data / "run" / "shards"), "--out", str(out), "--nproc", str(nproc), *extra,
    ]  # fmt: skip
    return subprocess.Popen(
        line, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip


def _train(data: Path, out: Path, *extra: str, nproc: int = 1) -> str:
    process = _start(data, out, *extra, nproc=nproc)
    try:
        output, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output[-3000:]
    return output


def _losses(out: Path) -> dict[int, float]:
    rows = [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    """One finished run on one process."""
    output = _train(data, data / "one")
    assert "torchrun" in output
    return data / "one"


def test_the_loss_falls_and_the_held_out_loss_is_reported(run: Path) -> None:
    losses = _losses(run)
    assert list(losses) == list(range(1, 13))
    assert losses[12] < losses[1] - 0.5
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < last["held_out_loss"] < losses[1]


@pytest.mark.slow
def test_two_processes_compute_what_one_does(data: Path, run: Path) -> None:
    _train(data, data / "two", nproc=2)
    one, two = _losses(run), _losses(data / "two")
    assert one.keys() == two.keys()
    assert max(abs(one[step] - two[step]) for step in one) < 1e-4


@pytest.mark.slow
def test_a_resumed_run_repeats_the_uninterrupted_one(data: Path, run: Path) -> None:
    resumed = data / "resumed"
    shutil.copytree(run, resumed)
    shutil.rmtree(resumed / "checkpoints" / "step-00000012")
    (resumed / "metrics.jsonl").unlink()
    _train(data, resumed)
    losses = _losses(resumed)
    assert list(losses) == list(range(7, 13))
    assert all(abs(losses[step] - _losses(run)[step]) < 1e-6 for step in losses)


def test_a_damaged_checkpoint_is_passed_over(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    weights = tmp_path / "checkpoints" / "step-00000012" / "model" / "model.safetensors"
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)
    newest = latest_checkpoint([tmp_path / "checkpoints"])
    assert newest is not None
    assert newest.name == "step-00000006"


def test_sigterm_saves_a_checkpoint_and_leaves(data: Path) -> None:
    out = data / "stopped"
    process = _start(data, out, "--set", "schedule.steps=100000")
    deadline = time.monotonic() + 120
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert time.monotonic() < deadline, "the run never started"
        assert process.poll() is None
        time.sleep(0.2)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    steps = len(_losses(out))
    newest = latest_checkpoint([out / "checkpoints"])
    assert newest is not None
    assert int(newest.name.removeprefix("step-")) == steps


def test_a_run_folder_of_another_run_is_refused(data: Path, run: Path) -> None:
    process = _start(data, run, "--set", "data.seed=7")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "other config" in output


def test_an_exported_checkpoint_loads_here_and_in_transformers(data: Path, run: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    out = data / "artifact"
    checkpoint = str(run / "checkpoints" / "step-00000012")
    verbs = ["train", "export", "--checkpoint", checkpoint, "--data", str(data / "run" / "shards")]
    assert tabwright([*verbs, "--out", str(out), "--name", "shapes"]) == 0
    artifact = ModelArtifact.load(out)
    assert artifact.name == "shapes"
    assert list(artifact.lineage["sources"]["seen"]["licences"]) == ["MIT"]
    assert artifact.lineage["tokens"] > 0
    assert json.loads((out / "contamination.json").read_text("utf-8")) == {"hits": []}
    assert [stage["steps"] for stage in artifact.lineage["stages"]] == [12]
    ids = artifact.tokenizer.encode("def area_1(width, height):")
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    trained = transformers.AutoModelForCausalLM.from_pretrained(
        run / "checkpoints" / "step-00000012" / "model"
    )
    with torch.no_grad():
        error = model(torch.tensor([ids])).logits - trained(torch.tensor([ids])).logits
    assert error.abs().max() < 0.1  # what bf16 costs these weights
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.encode("def area_1(width, height):") == ids
    assert tabwright([*verbs, "--out", str(out), "--name", "shapes"]) == 2


def test_a_checkpoint_with_a_flipped_byte_is_not_exported(
    data: Path, run: Path, tmp_path: Path
) -> None:
    from training.export.artifact import export_artifact

    shutil.copytree(run, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000012"
    config = checkpoint / "model" / "config.json"
    config.write_text(config.read_text().replace("32", "33", 1))
    with pytest.raises(CorruptArtifact):
        export_artifact(checkpoint, data / "run" / "shards", tmp_path / "out", name="bad")
    assert not (tmp_path / "out").exists()
