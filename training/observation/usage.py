"""What the run takes of its machine: processor and memory of the process; memory, load and power of
its GPU.

Load and power come from NVML and are left out where its Python package or the GPU is missing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(device: torch.device) -> dict[str, float]:
    """One sample of this rank."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    found = {"rss_mb": pages * _PAGE / 1e6, "processor_s": time.process_time()}
    if device.type != "cuda":
        return found
    found["gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    try:
        found["gpu_utilisation"] = torch.cuda.utilization(device) / 100
        found["gpu_power_w"] = torch.cuda.power_draw(device) / 1000
    except ModuleNotFoundError:  # nvidia-ml-py, of the extra `tracking`
        return found
    return found
