"""Read safetensors files with numpy alone: serving needs neither torch nor another package.

A file is an 8-byte length, a JSON header (name → dtype, shape, offsets) and raw little-endian data.
Tensors are memory-mapped: nothing is read before it is used. Reads F32, F16 and BF16, which is what
language models are published in; writing is not covered. Read `Checkpoint.open` first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tabwright.errors import ConfigError, CorruptArtifact

_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it lies in the file: `raw` is a read-only view of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    raw: Bytes = field(repr=False)

    def floats(self) -> Floats:
        """Widen the values to float32; this makes a copy unless they already are."""
        if self.dtype == "F32":
            return self.raw.view("<f4").reshape(self.shape)
        if self.dtype == "F16":
            return self.raw.view("<f2").astype(np.float32).reshape(self.shape)
        # bfloat16 is the upper half of a float32.
        wide = self.raw.view("<u2").astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of all files of one model, by name."""

    tensors: Mapping[str, StoredTensor] = field(repr=False)

    @classmethod
    def open(cls, files: Iterable[Path]) -> Checkpoint:
        """Read the headers of `files`, one or many shards.

        Raises:
            CorruptArtifact: a header does not describe its file, or a tensor stands in two files.
            ConfigError: a tensor has a type that is not read here.
        """
        tensors: dict[str, StoredTensor] = {}
        for file in files:
            for name, tensor in _read_file(file).items():
                if name in tensors:
                    raise CorruptArtifact(f"{file.name}: {name} stands in another file too")
                tensors[name] = tensor
        return cls(tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def get(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """Return one tensor, which must have `shape`.

        Raises:
            ConfigError: it is missing or has another shape.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise ConfigError(f"the checkpoint lacks the tensor {name!r}")
        if tensor.shape != shape:
            raise ConfigError(
                f"tensor {name!r} has shape {tensor.shape}, config.json asks for {shape}"
            )
        return tensor


def _read_file(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + length
        if length > _MAX_HEADER_BYTES or start > size:
            raise CorruptArtifact(f"{path.name}: the header is longer than the file")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise CorruptArtifact(f"{path.name}: {error}") from error
    if not isinstance(header, dict):
        raise CorruptArtifact(f"{path.name}: the header is not a JSON object")
    header.pop("__metadata__", None)
    body = np.memmap(path, dtype=np.uint8, mode="r", offset=0)[start:]
    return {name: _locate(path, name, entry, body) for name, entry in header.items()}


def _locate(path: Path, name: str, entry: Any, body: Bytes) -> StoredTensor:
    try:
        dtype = str(entry["dtype"])
        shape = tuple(int(n) for n in entry["shape"])
        first, last = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptArtifact(f"{path.name}: entry {name!r}: {error!r}") from error
    if dtype not in _ITEM_BYTES:
        raise ConfigError(
            f"{path.name}: {name!r} is {dtype}; this reader knows {', '.join(_ITEM_BYTES)}"
        )
    size = math.prod(shape) * _ITEM_BYTES[dtype]
    if min(shape, default=0) < 0 or not 0 <= first <= last <= body.size or last - first != size:
        raise CorruptArtifact(f"{path.name}: the offsets of {name!r} do not fit its shape")
    return StoredTensor(dtype, shape, body[first:last])
