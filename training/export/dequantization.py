"""Our reading of ModelOpt's quantised safetensors: which bf16 weights they stand for.

FP8: a matrix of E4M3 with one scale. INT4 AWQ: two rows in a byte, the even row in its low half,
a scale for each group of columns, and a factor for each column, which ModelOpt may have moved into
the norm before the layer. Read `dequantise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MARKS = ("weight_scale", "input_scale", "pre_quant_scale")
# The norm into which the column factors of these layers may have moved.
_NORMS = {
    "q_proj": "input_layernorm",
    "k_proj": "input_layernorm",
    "v_proj": "input_layernorm",
    "gate_proj": "post_attention_layernorm",
    "up_proj": "post_attention_layernorm",
    "c_fc": "post_attention_layernorm",
}


def dequantise(files: Sequence[Path]) -> dict[str, Any]:
    """Float32 tensors under the names of the unquantised checkpoint."""
    stored = _load(files)
    plain = {}
    for name, tensor in stored.items():
        if name.endswith(_MARKS):
            continue
        scale = stored.get(f"{name}_scale")
        if scale is None:
            plain[name] = tensor.float()
            continue
        weight = tensor.float() * scale.float() if tensor.element_size() == 1 and (
            tensor.is_floating_point()
        ) else _unpacked(tensor, scale.float())  # fmt: skip
        before = stored.get(name.removesuffix("weight") + "pre_quant_scale")
        plain[name] = (weight if before is None else weight * before.float()).contiguous()
    return plain


def weight_errors(checkpoint: Path, plain: Path, quantised: Path) -> dict[str, float]:
    """Relative error of each quantised matrix, a factor moved into its norm taken into account."""
    before = _load(sorted(checkpoint.glob("*.safetensors")))
    after = _load(sorted(plain.glob("*.safetensors")))
    marked = _load(sorted(quantised.glob("*.safetensors")))
    errors = {}
    for name in before:
        if f"{name}_scale" not in marked:
            continue
        wanted, got = before[name].float(), after[name].float()
        norm = _norm_of(name)
        if norm in before:
            got = got * (after[norm].float() / before[norm].float())
        errors[name] = float((got - wanted).norm() / wanted.norm())
    return errors


def _unpacked(packed: Any, scale: Any) -> Any:
    """INT4 values from bytes, times the scale of their group."""
    import torch

    bytes_ = packed.to(torch.int16)
    halves = torch.stack([bytes_ & 0x0F, bytes_ >> 4], dim=1).reshape(-1, packed.shape[1])
    signed = torch.where(halves > 7, halves - 16, halves).float()
    return signed * scale.repeat_interleave(packed.shape[1] // scale.shape[1], dim=1)


def _norm_of(name: str) -> str | None:
    parts = name.split(".")
    norm = _NORMS.get(parts[-2])
    return ".".join([*parts[:-3], norm, "weight"]) if norm else None


def _load(files: Sequence[Path]) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {key: tensor for file in files for key, tensor in load_file(file).items()}
