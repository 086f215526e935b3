"""Which ranks are slower than the others, judged by the median of each figure. Knows numbers only.

A rank is slow where a figure lies more than `tolerance` below the median of all ranks that have it.
Of two ranks the median is the mean of both. Nothing is said of a cluster that is slow as a whole.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FIGURES = ("matmul_tflops", "memory_gb_s", "next_rank_gb_s", "disk_gb_s")


@dataclass(frozen=True, slots=True)
class Measured:
    """One rank. None: it has no next rank, or another rank of its node measured the disk."""

    rank: int
    host: str
    device: str
    matmul_tflops: float
    memory_gb_s: float
    next_rank_gb_s: float | None
    disk_gb_s: float | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """slow: by rank, the figures that are below the median and by what share."""

    medians: dict[str, float]
    slow: dict[int, dict[str, float]]
    checkpoint_s: dict[str, float]


def diagnose(
    ranks: Sequence[Measured], tolerance: float, checkpoint_bytes: int | None = None
) -> Diagnosis:
    """Compare the ranks; a checkpoint of so many bytes is shared out among the nodes."""
    medians: dict[str, float] = {}
    slow: dict[int, dict[str, float]] = {}
    for figure in FIGURES:
        known = [(one.rank, value) for one in ranks if (value := getattr(one, figure)) is not None]
        if not known:
            continue
        median = medians[figure] = statistics.median(value for _, value in known)
        for rank, value in known:
            if value < (1 - tolerance) * median:
                slow.setdefault(rank, {})[figure] = 1 - value / median
    disks = {one.host: one.disk_gb_s for one in ranks if one.disk_gb_s is not None}
    share = (checkpoint_bytes or 0) / max(1, len(disks)) / 1e9
    times = {host: share / rate for host, rate in disks.items()} if checkpoint_bytes else {}
    return Diagnosis(medians, slow, times)


def table(ranks: Sequence[Measured], found: Diagnosis) -> list[str]:
    """The figures as text, a line a rank."""
    width = max(len("device"), *(len(one.device) for one in ranks))
    hosts = max(len("host"), *(len(one.host) for one in ranks))
    head = (
        f"{'rank':>4} {'host':<{hosts}} {'device':<{width}} {'matmul TFLOP/s':>14} "
        f"{'memory GB/s':>11} {'to next GB/s':>12} {'disk GB/s':>9} {'checkpoint':>10}  slow"
    )
    return [head, *(_line(one, found, hosts, width) for one in ranks)]


def _line(one: Measured, found: Diagnosis, hosts: int, width: int) -> str:
    took = found.checkpoint_s.get(one.host) if one.disk_gb_s is not None else None
    slow = ", ".join(
        f"{figure.partition('_')[0]} {share:.0%} below"
        for figure, share in found.slow.get(one.rank, {}).items()
    )
    return (
        f"{one.rank:>4} {one.host:<{hosts}} {one.device:<{width}} {one.matmul_tflops:>14,.3g} "
        f"{one.memory_gb_s:>11,.3g} {_shown(one.next_rank_gb_s):>12} {_shown(one.disk_gb_s):>9} "
        f"{'-' if took is None else f'{took:,.3g} s':>10}  {slow or '-'}"
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}"
