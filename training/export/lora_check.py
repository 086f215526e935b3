"""Does an adapter do the same beside its base as merged into it? Asked of transformers on the CPU.

Beside is how it is served, merged is how it was meant. Read `check_lora`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tabwright.errors import ValidationFailed
from training.export.checks import largest, load_model, logits_with, prompts_of
from training.export.finished import Finished
from training.export.lora import CONFIG, WEIGHTS, Adapter

_TOLERANCE = 1e-3  # of logits in float32: two products instead of one
_DOWN = ".lora_A.weight"


def check_lora(export: Finished, adapter: Adapter) -> dict[str, Any]:
    """Compare both ways on the exported base, and with the base alone.

    Raises:
        ValidationFailed: they differ, or the adapter changes nothing.
    """
    from safetensors.torch import load_file

    prompts = prompts_of(export.source)
    file = export.folder / "lora" / adapter.name / WEIGHTS
    pairs = {key: tensor.float() for key, tensor in load_file(file).items()}
    model = load_model(export.checkpoint)
    layers = dict(model.named_modules())
    scale = adapter.alpha / adapter.rank
    alone = logits_with(model, prompts)
    hooks = []
    for name in adapter.modules:
        down = pairs[f"base_model.model.{name}.lora_A.weight"]
        up = pairs[f"base_model.model.{name}.lora_B.weight"]
        hooks.append(layers[name].register_forward_hook(_beside(down, up, scale)))
    beside = logits_with(model, prompts)
    for hook in hooks:
        hook.remove()
    merged = logits_with(merge(model, file.parent), prompts)
    difference, effect = largest(beside, merged), largest(alone, merged)
    if not difference <= _TOLERANCE:  # also true for NaN
        raise ValidationFailed(
            f"adapter {adapter.name}: merged and beside the base its logits differ by "
            f"{difference:.3g}; {_TOLERANCE} is allowed"
        )
    if effect == 0:
        raise ValidationFailed(f"adapter {adapter.name} changes nothing; was it trained?")
    return {
        "name": f"adapter {adapter.name}, merged and beside",
        "prompts": len(prompts),
        "difference": difference,
        "effect": effect,
    }


def merge(model: Any, folder: Path) -> Any:
    """Add the adapter in `folder` to the weights of `model`, and return it."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / CONFIG).read_text("utf-8"))
    scale = config["lora_alpha"] / config["r"]
    layers = dict(model.named_modules())
    pairs = load_file(folder / WEIGHTS)
    for key, down in pairs.items():
        if key.endswith(_DOWN):
            up = pairs[key.removesuffix(_DOWN) + ".lora_B.weight"]
            name = key.removesuffix(_DOWN).removeprefix("base_model.model.")
            with torch.no_grad():
                layers[name].weight += scale * (up.float() @ down.float())
    return model


def _beside(down: Any, up: Any, scale: float) -> Any:
    def add(_layer: Any, given: Any, out: Any) -> Any:
        return out + scale * (given[0] @ down.T @ up.T)

    return add
