"""The folder of a run: whose it is, and which checkpoint a start goes on from.

How the ranks share the work, how often is saved and how the run goes on the machine may change from
start to start; what decides the weights may not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tabwright.artifact import write_json
from tabwright.errors import ConfigError
from training.checkpoint import MANIFEST, WEIGHTS, latest_checkpoint
from training.config import TrainConfig

_CHANGING = ("run", "parallel", "checkpoint", "spikes", "tracking")


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
        differing = [key for key in mine if _lasting(theirs.get(key)) != _lasting(mine[key])]
        if differing:
            raise ConfigError(f"{out} holds a run with other {', '.join(differing)}; use another")
    write_json(file, mine)


def _lasting(value: Any) -> Any:
    """Leave out of a config what may differ between two starts of one run."""
    if not isinstance(value, dict):
        return value
    kept = {key: part for key, part in value.items() if key not in _CHANGING}
    return kept | {"data": {k: v for k, v in kept.get("data", {}).items() if k != "micro_rows"}}


def newest(out: Path, second: Path | None) -> Path | None:
    """The checkpoint to go on from, as rank 0 found it, so that all ranks take the same."""
    import torch.distributed as dist

    found: list[str | None] = [None]
    if dist.get_rank() == 0:
        path = latest_checkpoint([out / "checkpoints", *([second] if second else [])])
        found = [str(path) if path else None]
    dist.broadcast_object_list(found, src=0)
    return Path(found[0]) if found[0] else None


def memory_of(checkpoint: Path) -> tuple[int, dict[str, Any]]:
    """Step of a checked checkpoint, and what its run had to remember."""
    manifest = json.loads((checkpoint / MANIFEST).read_text("utf-8"))
    return int(manifest["step"]), manifest["memory"]


def load_weights(model: Any, folder: Path) -> None:
    """Read a Hugging Face folder's weights into a model of the same shape."""
    from safetensors.torch import load_model

    load_model(model, folder / WEIGHTS)
