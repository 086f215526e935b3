"""The folder of a run: whose it is, and which checkpoint a start goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tabwright.artifact import write_json
from tabwright.errors import ConfigError
from training.config import TrainConfig
from training.optimizer import Optimizer


def claim(out: Path, config: TrainConfig, data: str, init_from: Path | None) -> None:
    """Write down what this run is; `data` is the digest of its shards.

    Raises:
        ConfigError: the folder belongs to another run.
    """
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    file = out / "run.json"
    mine = {
        "config": config.model_dump(mode="json"),
        "data": data,
        "init_from": init_from and str(init_from),
    }
    if file.exists():
        theirs = json.loads(file.read_text("utf-8"))
        differing = [key for key, value in mine.items() if theirs.get(key) != value]
        if differing:
            raise ConfigError(f"{out} holds a run with other {', '.join(differing)}; use another")
    write_json(file, mine)


def restore(model: Any, optimizer: Optimizer, checkpoint: Path, device: torch.device) -> int:
    """Put a checkpoint's weights and optimizer state back; returns its step."""
    load_weights(model, checkpoint / "model")
    state = torch.load(checkpoint / "trainer.pt", map_location=device, weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def load_weights(model: Any, folder: Path) -> None:
    """Read a Hugging Face folder's weights into a model of the same shape."""
    from safetensors.torch import load_model

    load_model(model, folder / "model.safetensors")
