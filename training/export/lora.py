"""PEFT adapters that an export ships beside its base model.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors`. What the LLM on
the GPU node would not apply, or apply otherwise than the trainer did, is refused. Read `read_lora`.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabwright.artifact import file_digest
from tabwright.errors import ConfigError, CorruptArtifact
from training.export.source import Source
from training.export.weights import check_weights, tensor_table

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_RANK = 64
# TensorRT-LLM's name of a module of transformers that may be adapted.
MODULES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_dense",
    "gate_proj": "mlp_h_to_4h",
    "down_proj": "mlp_4h_to_h",
    "up_proj": "mlp_gate",
}
# Variants of LoRA: what the field must be for the plain sum of base and scaled product.
_PLAIN: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": (None, "none"),
    "use_dora": (None, False),
    "use_rslora": (None, False),
    "fan_in_fan_out": (None, False),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layers_to_transform": (None, []),
    "megatron_config": (None, {}),
}
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter, checked against its base. modules: full names of the adapted layers."""

    name: str
    path: Path
    rank: int
    alpha: float
    modules: tuple[str, ...] = field(repr=False)

    @property
    def trtllm_modules(self) -> tuple[str, ...]:
        """Kinds of adapted layers in TensorRT-LLM's words."""
        return tuple(sorted({MODULES[m.rsplit(".", 1)[-1]] for m in self.modules}))

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "target_modules": list(self.trtllm_modules),
            "layers": len(self.modules),
            "digest": file_digest(self.path / WEIGHTS),
        }


def read_lora(name: str, path: Path, source: Source) -> Adapter:
    """Read an adapter folder and hold every tensor to the base model.

    Raises:
        ConfigError: a name that is none, another kind of adapter, a rank above 64, a module that
            is not adapted on the GPU, or a shape that is not the base's.
        CorruptArtifact: a file cannot be read, half of a pair is missing, a value is not finite.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"--lora {name}: letters, digits, dot, dash and underscore only")
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CorruptArtifact(f"--lora {name}: {CONFIG}: {error!r}") from error
    for key, allowed in _PLAIN.items():
        if config.get(key) not in allowed:
            raise ConfigError(f"--lora {name}: {key} {config.get(key)!r} is not served")
    if not 1 <= rank <= MAX_RANK:
        raise ConfigError(f"--lora {name}: rank {rank}; from 1 to {MAX_RANK} is served")
    if not (path / WEIGHTS).is_file():
        raise CorruptArtifact(f"--lora {name}: {WEIGHTS} is missing")
    modules = _modules(name, path, rank, source)
    check_weights([path / WEIGHTS])
    return Adapter(name, path, rank, alpha, modules)


def copy_lora(adapter: Adapter, folder: Path) -> None:
    """Put it into the export, where `model.yaml` says it is."""
    target = folder / "lora" / adapter.name
    target.mkdir(parents=True)
    for file in (CONFIG, WEIGHTS):
        shutil.copyfile(adapter.path / file, target / file)


def _modules(name: str, path: Path, rank: int, source: Source) -> tuple[str, ...]:
    base = tensor_table(source.weight_files)
    sides: dict[str, set[str]] = {}
    for tensor, facts in tensor_table([path / WEIGHTS]).items():
        match = _TENSOR.fullmatch(tensor)
        if match is None:
            raise ConfigError(f"--lora {name}: tensor {tensor} is none of a plain LoRA")
        module, side = match["module"], match["side"]
        kind = module.rsplit(".", 1)[-1]
        if kind not in MODULES:
            raise ConfigError(
                f"--lora {name}: {kind} is not adapted on the GPU; {', '.join(MODULES)} are"
            )
        if f"{module}.weight" not in base:
            raise ConfigError(f"--lora {name}: the base model has no {module}")
        rows, columns = base[f"{module}.weight"].shape
        wanted = (rank, columns) if side == "A" else (rows, rank)
        if facts.shape != wanted:
            raise ConfigError(
                f"--lora {name}: {tensor} is {facts.shape}, the base model needs {wanted}"
            )
        sides.setdefault(module, set()).add(side)
    if not sides or any(found != {"A", "B"} for found in sides.values()):
        raise CorruptArtifact(f"--lora {name}: a layer has half of its pair, or there is none")
    return tuple(sorted(sides))
