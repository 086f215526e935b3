"""The peak that MFU is measured against: the data sheet's, or what this device was seen to reach.

A data sheet counts where the device is one of `training/accelerators.py` and the run computes in
bf16; else, on CPUs say, square matrix products are timed once, on all ranks at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist

from training.accelerators import recognise
from training.rates import matmul_tflops


@dataclass(frozen=True, slots=True)
class Peak:
    """TFLOP/s of all ranks together, and where the figure is from."""

    tflops: float
    source: str


def peak_of(device: torch.device, precision: str) -> Peak:
    """Look the device up, or measure it; every rank must call."""
    told = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    row = recognise(told) if device.type == "cuda" and precision == "bf16" else None
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    own = row.peak_tflops if row else matmul_tflops(device, dtype)
    everyones = torch.tensor(own, device=device, dtype=torch.float32)
    dist.all_reduce(everyones)
    source = f"data sheet, {row.name}, dense bf16" if row else f"measured {dtype} products, {told}"
    return Peak(float(everyones), source)
