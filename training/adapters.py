"""LoRA and QLoRA: small matrices beside frozen ones (Hu et al. 2021, arXiv 2106.09685; 2305.14314).

`adapt` puts them into a model in place: an adapted layer keeps its name, so the parameters that
are trained are called `NAME.lora_A.weight` and `NAME.lora_B.weight`, as in PEFT's files. With NF4
the frozen matrix is kept in four bits and made anew for each product. `write_adapter` saves what
was trained alone, as the export's `--lora` and PEFT read it. Merging is in `merging.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F

from tabwright.artifact import write_json
from tabwright.errors import ConfigError
from training.config import AdapterSection
from training.nf4 import BLOCK, Product, Quantized, dequantized, quantized

CONFIG, WEIGHTS, ORIGIN = "adapter_config.json", "adapter_model.safetensors", "origin.json"
_PREFIX = "base_model.model."


class Scale(NamedTuple):
    """rank: columns of the small matrices. factor: of their product."""

    rank: int
    factor: float


class AdaptedLinear(torch.nn.Module):
    """A frozen linear layer and the product of two small trained ones, which begins as zero."""

    def __init__(self, base: torch.nn.Linear, scale: Scale, dropout: float, *, nf4: bool) -> None:
        """Take over the layer's weight; quantise it if `nf4`."""
        super().__init__()
        self.shape = tuple(base.weight.shape)
        self.weight: torch.nn.Parameter | None = None
        self.bias = base.bias
        if nf4:
            packed, largest, _ = quantized(base.weight)
            self.register_buffer("packed", packed)
            self.register_buffer("largest", largest)
        else:
            self.weight = cast(torch.nn.Parameter, base.weight.requires_grad_(False))
        if self.bias is not None:
            self.bias.requires_grad_(False)
        rows, columns = self.shape
        device, dtype = base.weight.device, base.weight.dtype
        self.lora_A = torch.nn.Linear(columns, scale.rank, bias=False, device=device, dtype=dtype)
        self.lora_B = torch.nn.Linear(scale.rank, rows, bias=False, device=device, dtype=dtype)
        torch.nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        torch.nn.init.zeros_(self.lora_B.weight)
        self._factor, self._dropout = scale.factor, torch.nn.Dropout(dropout)

    def base_weight(self) -> torch.Tensor:
        """The frozen matrix, dequantised if it is in four bits."""
        if self.weight is None:
            return dequantized(self._packed(), self.lora_A.weight.dtype)
        return self.weight.detach()

    def merged_weight(self) -> torch.Tensor:
        """One matrix that does what both do."""
        base = self.base_weight()
        added = self.lora_B.weight.detach().double() @ self.lora_A.weight.detach().double()
        return (base.double() + self._factor * added).to(base.dtype)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Add both products."""
        if self.weight is None:
            packed = self._packed()
            product: Any = Product.apply
            out = product(given, packed.packed, packed.largest, *self.shape)
            out = out if self.bias is None else out + self.bias
        else:
            out = F.linear(given, self.weight, self.bias)
        beside: torch.Tensor = self.lora_B(self.lora_A(self._dropout(given)))
        return cast(torch.Tensor, out + self._factor * beside)

    def _packed(self) -> Quantized:
        return Quantized(cast(torch.Tensor, self.packed), cast(torch.Tensor, self.largest),
                         self.shape)  # fmt: skip


def adapt(model: torch.nn.Module, section: AdapterSection) -> list[str]:
    """Freeze `model` and adapt the layers that `section` names; returns their full names.

    Raises:
        ConfigError: no layer has such a name, or a matrix does not divide into blocks of NF4.
    """
    model.requires_grad_(False)
    scale = Scale(section.rank, section.alpha / section.rank)
    found = [
        (name, module)
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in section.modules and isinstance(module, torch.nn.Linear)
    ]
    missing = set(section.modules) - {name.rpartition(".")[2] for name, _ in found}
    if missing:
        raise ConfigError(f"adapter.modules: the model has no {', '.join(sorted(missing))}")
    for name, module in found:
        if section.base == "nf4" and module.weight.numel() % BLOCK:
            raise ConfigError(f"adapter.base: {name} does not divide into blocks of {BLOCK}")
        parent, _, last = name.rpartition(".")
        adapted = AdaptedLinear(module, scale, section.dropout, nf4=section.base == "nf4")
        setattr(model.get_submodule(parent), last, adapted)
    return [name for name, _ in found]


def write_adapter(
    tensors: Mapping[str, torch.Tensor], section: AdapterSection, folder: Path
) -> None:
    """Write what was trained as a PEFT folder; other tensors are left out.

    Raises:
        ConfigError: there is no adapter among the tensors.
    """
    from safetensors.torch import save_file

    trained = {
        _PREFIX + name: tensor.detach().contiguous()
        for name, tensor in tensors.items()
        if name.endswith((".lora_A.weight", ".lora_B.weight"))
    }
    if not trained:
        raise ConfigError(f"{folder}: nothing was trained that could be an adapter")
    folder.mkdir(parents=True)
    save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(
        folder / CONFIG,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": section.rank,
            "lora_alpha": section.alpha,
            "lora_dropout": section.dropout,
            "target_modules": sorted(section.modules),
            "bias": "none",
            "fan_in_fan_out": False,
            "modules_to_save": None,
            "use_dora": False,
            "use_rslora": False,
            "base_model_name_or_path": None,
        },
    )
    # PEFT has no field for what the base was in while the adapter was trained.
    write_json(folder / ORIGIN, {"base": section.base})


def read_adapter(folder: Path) -> tuple[AdapterSection, dict[str, torch.Tensor]]:
    """Read what `write_adapter` wrote, or PEFT; names are those of the model.

    Raises:
        ConfigError: a file is missing or is no plain LoRA.
    """
    from safetensors.torch import load_file

    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        origin = folder / ORIGIN
        base: Any = json.loads(origin.read_text("utf-8"))["base"] if origin.is_file() else "full"
        section = AdapterSection(
            rank=config["r"], alpha=config["lora_alpha"],
            modules=tuple(config["target_modules"]), base=base,
        )  # fmt: skip
        loaded = load_file(folder / WEIGHTS)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{folder}: no adapter can be read ({error})") from error
    return section, {name.removeprefix(_PREFIX): tensor for name, tensor in loaded.items()}


def adapter_of_checkpoint(checkpoint: Path) -> tuple[AdapterSection, dict[str, torch.Tensor]]:
    """Read the tensors of a checkpoint whose run trained an adapter, and how it did.

    Raises:
        ConfigError: there is no such checkpoint, or its run trained all weights.
    """
    from safetensors.torch import load_file

    try:
        run = json.loads((checkpoint.parents[1] / "run.json").read_text("utf-8"))
        section = run["config"]["adapter"]
        tensors = load_file(checkpoint / "model" / "model.safetensors")
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(f"--checkpoint {checkpoint}: cannot be read ({error})") from error
    if section is None:
        raise ConfigError(f"--checkpoint {checkpoint}: its run trained no adapter")
    return AdapterSection.model_validate(section), tensors
