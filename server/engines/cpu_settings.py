"""What an operator may turn on the CPU engine, and the size of its key-value pool.

Imports nothing heavy: the gateway reads this, the worker gets the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from server.engines.line import BLOCK_TOKENS, blocks_for
from server.engines.llama_shape import LlamaShape
from tabwright.errors import ConfigError

_DEFAULT_POOL_MB = 1024


class WeightFormat(StrEnum):
    """How matrices are stored in the IR; `int8` is symmetric with one scale per output channel."""

    INT8 = "int8"
    BF16 = "bf16"
    F32 = "f32"


class Precision(StrEnum):
    """`fast`: bf16 arithmetic where the CPU has it, 8-bit cache. `f32`: exact, for comparisons."""

    FAST = "fast"
    F32 = "f32"


@dataclass(frozen=True, slots=True)
class CpuSettings:
    """How to run.

    threads: 0 leaves it to OpenVINO (one per core). slots: requests that run at once. waiting:
    places in the line before requests are refused. kv_cache_mb: memory for keys and values; None
    means twice what all slots can need, at most 1 GiB. chunk_tokens: tokens of prompt and answers
    computed in one step; smaller frees cancelled requests sooner, larger reads long prompts faster.
    weights: None means int8, or f32 with `precision` f32. cache_dir: where converted models are
    kept; None means `~/.cache/tabwright/ir`. start_timeout_s: for conversion and loading.
    stall_timeout_s: a worker silent for so long while requests run is replaced.

    Raises:
        ConfigError: a value is out of its range.
    """

    threads: int = 0
    slots: int = 8
    waiting: int = 32
    kv_cache_mb: int | None = None
    chunk_tokens: int = 128
    weights: WeightFormat | None = None
    precision: Precision = Precision.FAST
    cache_dir: Path | None = None
    start_timeout_s: float = 300.0
    stall_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        bounds = {
            "threads": (self.threads, 0),
            "slots": (self.slots, 1),
            "waiting": (self.waiting, 0),
            "chunk_tokens": (self.chunk_tokens, BLOCK_TOKENS),
            "kv_cache_mb": (self.kv_cache_mb or 1, 1),
        }
        for name, (value, least) in bounds.items():
            if value < least:
                raise ConfigError(f"cpu engine: {name} is {value}; give at least {least}")
        # Values may come as text from a file or a variable.
        try:
            object.__setattr__(self, "precision", Precision(self.precision))
            if self.weights is not None:
                object.__setattr__(self, "weights", WeightFormat(self.weights))
        except ValueError as error:
            raise ConfigError(f"cpu engine: {error}") from error

    @property
    def weight_format(self) -> WeightFormat:
        """The format in force."""
        if self.weights is not None:
            return self.weights
        return WeightFormat.F32 if self.precision is Precision.F32 else WeightFormat.INT8

    def kv_blocks(self, config: Mapping[str, Any], max_context: int) -> int:
        """Blocks of the pool for the model of this `config.json`.

        Raises:
            ConfigError: the model is not covered, or the pool cannot hold one full context.
        """
        shape = LlamaShape.read(config)
        # In 8 bits, a key has two floats per channel and block, a value two floats per head.
        compressed = (1 + 8 / BLOCK_TOKENS + 1 + 8 / shape.head_dim) / 2
        value_bytes = 4.0 if self.precision is Precision.F32 else compressed
        block_bytes = shape.kv_values_per_token * value_bytes * BLOCK_TOKENS
        room = int((self.kv_cache_mb or _DEFAULT_POOL_MB) * 2**20 / block_bytes)
        one = blocks_for(max_context)
        if room < one:
            raise ConfigError(
                f"cpu engine: kv_cache_mb {self.kv_cache_mb or _DEFAULT_POOL_MB} holds "
                f"{room} blocks; one request of {max_context} tokens needs {one}"
            )
        return room if self.kv_cache_mb else min(room, 2 * self.slots * one)
