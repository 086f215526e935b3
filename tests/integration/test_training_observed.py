"""Is everything about a run noted while it goes on, and does the whole path run as a flow?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.tiny_run import TINY_RUN
from tests.fakes.tiny_shards import write_tiny_shards

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
CONFIG = (
    TINY_RUN
    + """
[schedule]
steps = 6
warmup_steps = 2
[run]
precision = "fp32"
eval_every = 3
eval_rows = 4
threads = 1
[checkpoint]
every = 3
[tracking]
holes = 2
answer_tokens = 8
prompts = [{ prefix = "def area_1", suffix = "\\n" }]
"""
)


def command(words: list[str], **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, text=True, capture_output=True, timeout=560,
        env=os.environ | {"OMP_NUM_THREADS": "1", **environment}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def observed(folder: Path, *sets: str) -> Path:
    write_tiny_shards(folder / "shards")
    (folder / "tiny.toml").write_text(CONFIG)
    command(["-m", "training.train", "--config", str(folder / "tiny.toml"),
             "--data", str(folder / "shards"), "--out", str(folder / "run"),
             *(word for one in sets for word in ("--set", one))],
            WANDB_API_KEY="", HOME=str(folder))  # fmt: skip
    return folder / "run"


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return observed(tmp_path_factory.mktemp("observed"))


def test_every_step_says_how_fast_it_was_and_against_which_peak(run: Path) -> None:
    (start,) = rows(run / "starts.jsonl")
    assert start["peak_source"].startswith("measured")
    for row in rows(run / "metrics.jsonl"):
        assert row["tokens_per_s"] == pytest.approx(row["tokens"] / row["seconds"])
        flops = start["flops_per_token"] * 4 * 128 / row["seconds"]
        assert row["mfu"] == pytest.approx(flops / (start["peak_tflops"] * 1e12), rel=1e-4)
        assert row["rss_mb"] > 50


def test_every_measure_has_languages_holes_and_the_mix(run: Path) -> None:
    measured = [row for row in rows(run / "metrics.jsonl") if "held_out_loss" in row]
    assert [row["step"] for row in measured] == [3, 6]
    for row in measured:
        assert list(row["held_out_by_language"]) == ["python"]
        # One language: its loss is that of all rows, but for conversations, which are not here.
        assert row["held_out_by_language"]["python"] == pytest.approx(row["held_out_loss"])
        assert 0 <= row["fim_exact_match"] <= 1
        assert sum(row["mix"].values()) == 12


def test_the_prompts_are_filled_at_every_checkpoint_and_the_card_is_there(run: Path) -> None:
    samples = rows(run / "samples.jsonl")
    assert [row["step"] for row in samples] == [3, 6]
    assert {row["prefix"] for row in samples} == {"def area_1"}
    page = (run / "card.html").read_text("utf-8")
    assert "def area_1" in page
    assert "6 of 6" in page


@pytest.mark.slow
@pytest.mark.needs("tracking")
def test_other_places_get_the_same_numbers_without_a_key(tmp_path: Path) -> None:
    run = observed(tmp_path, "tracking.tensorboard=true", 'tracking.wandb_project="tiny"')
    assert list((run / "wandb").glob("offline-run-*"))
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        EventAccumulator,
    )

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    told = [event.value for event in events.Scalars("loss")]
    assert told == pytest.approx([row["loss"] for row in rows(run / "metrics.jsonl")], rel=1e-5)
    assert "held_out_by_language/python" in events.Tags()["scalars"]


@pytest.mark.slow
@pytest.mark.needs("flow")
def test_the_whole_path_runs_as_a_flow_and_resumes(tmp_path: Path) -> None:
    config = "[tokenizer]\nvocab_size = 600\n[dedup]\nnear = false\n"
    for source, held_out in (("seen", "false"), ("unseen", "true")):
        (tmp_path / source).mkdir()
        for number in range(4):
            text = "".join(
                f"def area_{source}_{number}_{i}(width):\n    return width * {i}\n\n\n"
                for i in range(40)
            )
            (tmp_path / source / f"shapes_{number}.py").write_text(text)
        config += (
            f'[[source]]\nkind = "folder"\nname = "{source}"\nfolder = "{tmp_path / source}"\n'
            f'licence = "MIT"\nheld_out = {held_out}\n'
        )
    (tmp_path / "data.toml").write_text(config)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    words = ["-m", "tabwright", "train", "flow", "--data-config", str(tmp_path / "data.toml"),
             "--config", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "flow"),
             "--name", "shapes"]  # fmt: skip
    said = command(words)
    told = json.loads(
        next(line for line in said.splitlines() if '"model"' in line).partition("] ")[2]
    )
    artifact = ModelArtifact.load(tmp_path / "flow" / "artifact")
    assert (told["model"], artifact.name) == (artifact.digest, "shapes")
    assert artifact.lineage["stages"][0]["data_digest"] == told["data"]
    assert "resum" in command([*words, "--resume"]).lower()
