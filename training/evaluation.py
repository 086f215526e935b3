"""What the newest checkpoint of a run knows: its held-out loss, and held-out holes it fills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer
from training.checkpoint import latest_checkpoint
from training.config import TrackingSection
from training.records import METRICS, read_lines


class Evaluation(NamedTuple):
    """The checkpoint, and its measures by name."""

    checkpoint: Path
    measures: dict[str, float]


def evaluate(run: Path, data: Path, holes: int) -> Evaluation:
    """Measure on one process, in 32 bits.

    Raises:
        ConfigError: the run has no whole checkpoint.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from training.family import bind_family
    from training.observation.answers import with_cache
    from training.observation.questions import Questions

    checkpoint = latest_checkpoint([run / "checkpoints"])
    if checkpoint is None:
        raise ConfigError(f"{run}: no whole checkpoint to evaluate")
    family = json.loads((run / "run.json").read_text("utf-8"))["config"]["data"]["family"]
    fim = bind_family(family, Tokenizer.from_file(data / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(checkpoint / "model", dtype=torch.float32)
    context = int(model.config.max_position_embeddings)
    questions = Questions(data, TrackingSection(holes=holes), fim, context)
    after = with_cache(model, torch.device("cpu"))
    losses = [row["held_out_loss"] for row in read_lines(run / METRICS) if "held_out_loss" in row]
    measures = {"held_out_loss": float(losses[-1])} if losses else {}
    if (share := questions.exact_match(model, after)) is not None:
        measures["fim_exact_match"] = share
    return Evaluation(checkpoint, measures)
