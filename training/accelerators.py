"""What the data sheets of GPUs promise: dense bf16 peak, memory, memory bandwidth.

Peaks are without sparsity. Chips before Ampere have no bf16; their row is fp16. Where a sheet has
a rate for 16-bit and one for 32-bit sums, it is the latter, which is what training uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from tabwright.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One row. `told` are words of the name that the driver gives, all of them in it."""

    name: str
    told: tuple[str, ...]
    peak_tflops: float
    memory_gb: float
    bandwidth_gb_s: float


# More particular names first: the first row whose words are all in the driver's name is taken.
ACCELERATORS: tuple[Accelerator, ...] = (
    Accelerator("b200", ("B200",), 2250, 180, 7700),
    Accelerator("h200", ("H200",), 989, 141, 4800),
    Accelerator("h100-pcie", ("H100", "PCIe"), 756, 80, 2000),
    Accelerator("h100", ("H100",), 989, 80, 3350),
    Accelerator("a100-40gb", ("A100", "40GB"), 312, 40, 1555),
    Accelerator("a100", ("A100",), 312, 80, 2039),
    Accelerator("l40s", ("L40S",), 362, 48, 864),
    Accelerator("l4", ("NVIDIA L4",), 121, 24, 300),
    Accelerator("a10", ("NVIDIA A10",), 125, 24, 600),
    Accelerator("a6000", ("RTX A6000",), 154.8, 48, 768),
    Accelerator("rtx4090", ("RTX 4090",), 165.2, 24, 1008),
    Accelerator("rtx3090", ("RTX 3090",), 71, 24, 936),
    Accelerator("v100", ("V100",), 125, 32, 900),
    Accelerator("t4", ("T4",), 65, 16, 320),
    Accelerator("mi300x", ("MI300X",), 1307, 192, 5300),
)


def find_accelerator(name: str) -> Accelerator:
    """The row that a user names.

    Raises:
        ConfigError: there is none.
    """
    for row in ACCELERATORS:
        if row.name == name.lower():
            return row
    known = ", ".join(row.name for row in ACCELERATORS)
    raise ConfigError(f"--gpu {name}: no such row; known: {known}")


def recognise(told: str) -> Accelerator | None:
    """The row of the device that a driver calls `told`, None if no sheet is known."""
    for row in ACCELERATORS:
        if all(word in told for word in row.told):
            return row
    return None
