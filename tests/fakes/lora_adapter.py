"""A PEFT adapter folder with random weights, for the tiny artifact and models of its shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tabwright.artifact import write_json
from tests.fakes.tiny_artifact import write_safetensors

LAYER = "model.layers.0.self_attn"
_SHAPES = {f"{LAYER}.q_proj": (64, 64), "model.layers.1.mlp.down_proj": (64, 128)}
_RANK = 4


def make_adapter(folder: Path, *, seed: int = 0, strength: float = 0.3) -> Path:
    """Write the folder as PEFT saves it; strength 0 is an adapter that was never trained."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, (rows, columns) in _SHAPES.items():
        down = rng.standard_normal((_RANK, columns), dtype=np.float32)
        up = rng.standard_normal((rows, _RANK), dtype=np.float32)
        tensors[f"base_model.model.{name}.lora_A.weight"] = down
        tensors[f"base_model.model.{name}.lora_B.weight"] = up * np.float32(strength)
    folder.mkdir(parents=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors, "F32")
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "r": _RANK,
            "lora_alpha": 8,
            "lora_dropout": 0.05,
            "bias": "none",
            "target_modules": ["q_proj", "down_proj"],
            "modules_to_save": None,
            "use_dora": False,
            "use_rslora": False,
        },
    )
    return folder
