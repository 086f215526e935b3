"""Merge an adapter into its base, and say what that changes.

The base that is merged into is the one that the adapter was trained beside: for QLoRA the
dequantised one, not the sixteen-bit original, into which the adapter does not fit. Read `merge`.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tabwright.artifact import write_json
from tabwright.errors import ConfigError, ValidationFailed
from training.adapters import AdaptedLinear, adapt, read_adapter
from training.config import AdapterSection

_ALLOWED = 1e-5  # of the largest logit, in float32
_PROMPT_IDS, _PROMPTS = 64, 8


@dataclass(frozen=True, slots=True)
class Merged:
    """Largest differences of logits over prompts of random ids, and the largest logit.

    merged: adapter beside its base against merged, in float32. saved: against what was written and
    read again. original: against the adapter merged into the base before quantisation (QLoRA).
    """

    merged: float
    saved: float
    original: float | None
    largest_logit: float


def merge(base: Path, adapter: Path, out: Path) -> Merged:
    """Write the model in `base`, a Hugging Face folder, with its adapter as a folder `out`.

    Raises:
        ConfigError: `out` exists, or the adapter does not belong to the base.
        ValidationFailed: the merged model says something else than the adapted one.
    """
    if out.exists():
        raise ConfigError(f"--out {out} exists; give another folder")
    section, tensors = read_adapter(adapter)
    model = _load(base)
    dtype = _stored_dtype(base)
    adapt(model, section)
    _fill(model, tensors)
    model.eval()
    prompts = _prompts(int(model.config.vocab_size))
    beside = _logits(model, prompts)
    original = None if section.base == "full" else _into_original(base, section, tensors, prompts)
    fold(model)
    merged = _logits(model, prompts)
    difference, largest = _largest(beside, merged), float(beside.abs().max())
    if not difference <= _ALLOWED * largest:  # also true for NaN
        raise ValidationFailed(f"merged, the logits differ by {difference:.3g}")
    work = out.with_name(f".{out.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    model.to(dtype).save_pretrained(work)
    if (base / "tokenizer.json").is_file():
        shutil.copyfile(base / "tokenizer.json", work / "tokenizer.json")
    told = Merged(
        difference,
        _largest(beside, _logits(_load(work).eval(), prompts)),
        None if original is None else _largest(beside, original),
        largest,
    )
    write_json(work / "merge.json", {"adapter": adapter.name, "base": section.base} | asdict(told))
    work.rename(out)
    return told


def fold(model: torch.nn.Module) -> None:
    """Put plain layers with the sum of both products in the place of adapted ones."""
    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, AdaptedLinear)]
    for name, layer in adapted:
        rows, columns = layer.shape
        plain = torch.nn.Linear(columns, rows, bias=layer.bias is not None)
        plain.weight = torch.nn.Parameter(layer.merged_weight())
        if layer.bias is not None:
            plain.bias = layer.bias
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, plain)


def _into_original(
    base: Path, section: AdapterSection, tensors: dict[str, torch.Tensor], prompts: torch.Tensor
) -> torch.Tensor:
    model = _load(base)
    adapt(model, section.model_copy(update={"base": "full"}))
    _fill(model, tensors)
    return _logits(model.eval(), prompts)


def _fill(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    wanted = {name for name, _ in model.named_parameters() if ".lora_" in name}
    if wanted != tensors.keys():
        odd = ", ".join(sorted(wanted ^ tensors.keys())[:3])
        raise ConfigError(f"the adapter does not belong to this base: {odd}")
    try:
        model.load_state_dict({n: t.float() for n, t in tensors.items()}, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"the adapter does not belong to this base: {error}") from None


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no model can be read ({error})") from error


def _stored_dtype(folder: Path) -> torch.dtype:
    """In which type the base's matrices are stored."""
    from safetensors import safe_open

    with safe_open(sorted(folder.glob("*.safetensors"))[0], framework="pt") as file:
        stored: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return stored


def _prompts(vocabulary: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary, (_PROMPTS, _PROMPT_IDS), generator=chance)


@torch.no_grad()
def _logits(model: Any, prompts: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=prompts).logits
    return logits


def _largest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())
