"""Do adapters and preferences train through the one entry, and is the order of a run verifiable?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tabwright.cli import main as tabwright
from tests.fakes.tiny_shards import write_tiny_shards

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
CONFIG = """
[model]
hidden_size = 64
layers = 2
heads = 2
kv_heads = 1
intermediate_size = 128
max_positions = 128
[data]
context = 128
batch_rows = 4
micro_rows = 2
[optimizer]
name = "adamw"
lr = 0.01
embedding_lr = 0.01
[schedule]
steps = 6
[run]
precision = "fp32"
eval_every = 3
eval_rows = 2
threads = 1
[checkpoint]
every = 3
keep = 3
"""


def _train(out: Path, shards: Path, config: str, *extra: str, nproc: int = 1) -> Path:
    file = out.with_suffix(".toml")
    file.write_text(config)
    line = [
        sys.executable, "-m", "tabwright", "train", "run", "--config", str(file),
        "--data", str(shards), "--out", str(out), "--nproc", str(nproc), *extra,
    ]  # fmt: skip
    done = subprocess.run(
        line, cwd=ROOT, text=True, capture_output=True, timeout=400, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return out


def _losses(run: Path) -> list[float]:
    return [json.loads(row)["loss"] for row in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture(scope="module")
def base(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps on two processes."""
    return _train(tmp_path_factory.mktemp("runs") / "base", shards, CONFIG, nproc=2)


def test_what_two_processes_read_is_what_the_configuration_says(
    base: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = ["train", "verify-order", "--data", str(shards)]
    assert tabwright([*verb, "--run", str(base), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["step"], row["right"]) for row in found] == [(3, True), (6, True)]
    assert found[0]["recorded"] != found[1]["recorded"]
    other = tmp_path / "other"
    shutil.copytree(base, other)
    told = json.loads((other / "run.json").read_text())
    told["config"]["data"]["seed"] = 1
    (other / "run.json").write_text(json.dumps(told))
    assert tabwright([*verb, "--run", str(other)]) == 1
    assert "WRONG" in capsys.readouterr().out
    more = write_tiny_shards(tmp_path / "more", 41)
    assert tabwright(["train", "verify-order", "--data", str(more), "--run", str(base)]) == 2


def test_ngrams_and_a_checkpoint_answer_the_same_questions(
    base: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = ["train", "ngram", "--data", str(shards), "--context", "128", "--rows", "4"]
    last = base / "checkpoints" / "step-00000006"
    assert tabwright([*verb, "--holes", "4", "--checkpoint", str(last), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["model"].split()[-1] for row in found] == ["3-gram", "5-gram", "step-00000006"]
    assert len({(row["tokens"], row["holes"]) for row in found}) == 1
    # Held-out files equal those that were learnt here, so n-grams are hard to beat.
    assert found[1]["held_out_loss"] < found[0]["held_out_loss"] < found[2]["held_out_loss"] < 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "nf4"])
def test_an_adapter_is_trained_resumed_written_and_merged(
    base: Path, shards: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = base / "checkpoints" / "step-00000006"
    config = CONFIG + f'[adapter]\nrank = 4\nbase = "{kind}"\n'
    run = _train(tmp_path / "run", shards, config, "--init-from", str(first))
    losses = _losses(run)
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    (run / "metrics.jsonl").unlink()
    _train(run, shards, config, "--init-from", str(first))
    assert _losses(run) == pytest.approx(losses[3:], abs=1e-5)
    last = run / "checkpoints" / "step-00000006"
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    verb = ["train", "adapter", "--checkpoint", str(last), "--out", str(adapter)]
    assert tabwright(verb) == 0
    assert tabwright(["train", "adapter", "--checkpoint", str(first), "--out", "none"]) == 2
    export = ["train", "export", "--data", str(shards), "--name", "a", "--checkpoint", str(last)]
    assert tabwright([*export, "--out", str(tmp_path / "artifact")]) == 2
    assert "tabwright train merge" in capsys.readouterr().err
    verb = ["train", "merge", "--base", str(first / "model"), "--adapter", str(adapter)]
    assert tabwright([*verb, "--out", str(merged)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert max(told["merged"], told["saved"]) <= 1e-5 * told["largest_logit"]
    assert (told["original"] is not None) == (kind == "nf4")


@pytest.mark.slow
def test_preferences_are_learnt_by_two_processes_as_by_one(
    base: Path, shards: Path, tmp_path: Path
) -> None:
    lines = [
        {"prefix": f"def area_{n}(width, height):\n    return ", "suffix": "\n",
         "chosen": "width * height", "rejected": "height"}
        for n in range(40)
    ]  # fmt: skip
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = CONFIG.replace("[optimizer]", "mask_documents = true\n[optimizer]")
    config = config.replace("lr = 0.01", "lr = 0.003") + f'[preference]\npairs = "{pairs}"\n'
    first = str(base / "checkpoints" / "step-00000006")
    one = _train(tmp_path / "one", shards, config, "--init-from", first)
    two = _train(tmp_path / "two", shards, config, "--init-from", first, nproc=2)
    losses = _losses(one)
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert losses[-1] < 0.9 * losses[0]
    assert _losses(two) == pytest.approx(losses, abs=1e-4)
    for run in (one, two):
        assert tabwright(["train", "verify-order", "--run", str(run), "--data", str(shards)]) == 0
