"""What a device does in a second, measured: matrix products, copies in memory, writes to a disk.

Each figure is the best of several tries, so that what else the machine does counts as little as it
can. Knows nothing of ranks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

_TRIES = 5
_LEAST_S = 0.05  # of one try, so that the clock does not matter
_BLOCK = 16 << 20


def matmul_tflops(device: torch.device, dtype: torch.dtype, size: int = 0) -> float:
    """TFLOP/s of square products; `size` 0 takes one that fills the device."""
    size = size or (8192 if device.type == "cuda" else 1024)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty(size, size, device=device, dtype=dtype)
    return 2 * size**3 / _seconds(lambda: torch.matmul(left, right, out=out), device) / 1e12


def copy_gb_s(device: torch.device, size: int = 0) -> float:
    """GB/s read and written by a copy from memory to memory."""
    size = size or (1 << 30 if device.type == "cuda" else 1 << 27)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _seconds(lambda: target.copy_(source), device) / 1e9


def write_gb_s(folder: Path, megabytes: int = 256) -> float:
    """GB/s written to a file in `folder` that is on the disk when the clock stops."""
    block = torch.randint(256, (_BLOCK,), dtype=torch.uint8).numpy().tobytes()
    blocks = max(1, (megabytes << 20) // _BLOCK)
    file = folder / f".doctor-{os.getpid()}"
    try:
        began = time.perf_counter()
        with file.open("wb") as stream:
            for _ in range(blocks):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        return blocks * _BLOCK / (time.perf_counter() - began) / 1e9
    finally:
        file.unlink(missing_ok=True)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the best of several tries."""
    best, times = float("inf"), 1
    work()
    for _ in range(_TRIES):
        while True:
            _wait(device)
            began = time.perf_counter()
            for _ in range(times):
                work()
            _wait(device)
            took = time.perf_counter() - began
            if took >= _LEAST_S:
                break
            times *= 2
        best = min(best, took / times)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
