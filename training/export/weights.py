"""Weights as bf16 safetensors, one tensor in memory at a time where the files allow it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tabwright.errors import ConfigError, CorruptArtifact

INDEX = "model.safetensors.index.json"


def check_weights(files: Sequence[Path]) -> None:
    """Read every tensor once.

    Raises:
        CorruptArtifact: a value is not finite, or a file cannot be read.
        ConfigError: a tensor is not of floating point: the checkpoint is quantised already.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(file, framework="pt") as stored:
                for key in stored.keys():  # noqa: SIM118, it is no mapping
                    tensor = stored.get_tensor(key)
                    if not tensor.is_floating_point() or tensor.element_size() < 2:
                        raise ConfigError(
                            f"{file.name}: {key} is {tensor.dtype}; export the unquantised model"
                        )
                    if not torch.isfinite(tensor).all():
                        raise CorruptArtifact(
                            f"{file.name}: {key} holds a value that is not finite"
                        )
        except SafetensorError as error:
            raise CorruptArtifact(f"{file.name}: {error}") from error


class TensorFacts(NamedTuple):
    """What a safetensors file says of a tensor. dtype: in its words (BF16, F32, F8_E4M3)."""

    dtype: str
    shape: tuple[int, ...]


def tensor_table(files: Sequence[Path]) -> dict[str, TensorFacts]:
    """Names, types and shapes of all tensors, without reading their values.

    Raises:
        CorruptArtifact: a file cannot be read, or a tensor stands in two.
    """
    from safetensors import SafetensorError, safe_open

    table: dict[str, TensorFacts] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as stored:
                for key in stored.keys():  # noqa: SIM118, it is no mapping
                    if key in table:
                        raise CorruptArtifact(f"{file.name}: {key} stands in another file too")
                    found = stored.get_slice(key)
                    table[key] = TensorFacts(found.get_dtype(), tuple(found.get_shape()))
        except SafetensorError as error:
            raise CorruptArtifact(f"{file.name}: {error}") from error
    return table


def write_bf16(files: Sequence[Path], target: Path) -> int:
    """Cast to bf16 and write under the same names, with an index for several; count the numbers."""
    import torch
    from safetensors.torch import load_file, save_file

    parameters = bytes_written = 0
    places: dict[str, str] = {}
    for file in files:
        halved = {
            key: tensor.to(torch.bfloat16).contiguous() for key, tensor in load_file(file).items()
        }
        save_file(halved, target / file.name, metadata={"format": "pt"})
        count = sum(tensor.numel() for tensor in halved.values())
        parameters, bytes_written = parameters + count, bytes_written + 2 * count
        places |= dict.fromkeys(halved, file.name)
    if len(files) > 1:
        index = {"metadata": {"total_size": bytes_written}, "weight_map": places}
        (target / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    return parameters
