"""How fast this machine reads memory: the bound of batch-1 decoding, measured rather than believed.

Every generated token reads every weight once, so tokens per second cannot exceed bytes per second
divided by bytes of weights. Reads with numpy's dot product, which uses every core. Read `measure`
first.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_MEMORY_MB = 512
_ROUNDS = 5


class MemorySpeed(NamedTuple):
    """Bytes per second read by all cores together, in GB/s; `cache_mb` is the last-level cache."""

    memory_gb_s: float
    cache_gb_s: float
    cache_mb: float


def measure() -> MemorySpeed:
    """Read an array far larger than the cache, then one that fits; the best of several rounds."""
    cache_mb = last_level_cache_mb()
    small_mb = max(1, int(cache_mb / 4))
    return MemorySpeed(
        memory_gb_s=_read(_MEMORY_MB, repeats=1),
        cache_gb_s=_read(small_mb, repeats=_MEMORY_MB // small_mb),
        cache_mb=cache_mb,
    )


def last_level_cache_mb() -> float:
    """Size of the largest cache of the first core; 0 where the system does not say."""
    sizes = [0.0]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text(encoding="ascii").strip()
        scale = {"K": 1 / 1024, "M": 1.0}.get(text[-1:], 0.0)
        sizes.append(float(text[:-1] or 0) * scale)
    return max(sizes)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(size_mb: int, repeats: int) -> float:
    import numpy as np

    array = np.full(size_mb << 18, 0.5, dtype=np.float32)
    best = 0.0
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(repeats):
            np.dot(array, array)  # one stream of reads, shared among the cores by the BLAS library
        seconds = time.perf_counter() - began
        best = max(best, repeats * array.nbytes / seconds / 1e9)
    return best
