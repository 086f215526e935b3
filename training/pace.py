"""Notice a rank that is slower than the others: what it reads and computes is timed, no waiting.

With sharded parameters a forward pass waits for other ranks, so there only the reading is timed.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist

logger = logging.getLogger(__name__)

_MATTERS = 0.1  # share of the run's time
_CYCLE, _TIMED = 20, 5  # the last 5 of 20 steps are timed: on a GPU timing costs a little


class Pace:
    """Times this rank's own work; at the end of each cycle rank 0 names who is slow."""

    def __init__(self, factor: float, device: torch.device) -> None:
        """`factor`: how many times the median of all ranks is worth a warning."""
        self._factor, self._device = factor, device
        self._seconds = 0.0
        self._timing = False
        self._since = 0.0

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Time what this rank does without waiting for others."""
        if not self._timing:
            yield
            return
        began = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._seconds += time.perf_counter() - began

    def next(self, step: int) -> None:
        """Go on to the next step. Every rank must call."""
        self._timing = step % _CYCLE >= _CYCLE - _TIMED
        if step % _CYCLE == _CYCLE - _TIMED:
            self._since = time.perf_counter()
        if step % _CYCLE or not self._seconds:
            return
        found = [torch.zeros(1, device=self._device) for _ in range(dist.get_world_size())]
        dist.all_gather(found, torch.tensor([self._seconds], device=self._device))
        self._seconds = 0.0
        if dist.get_rank() == 0:
            least = _MATTERS * (time.perf_counter() - self._since)
            for rank, times in stragglers([float(own) for own in found], self._factor, least):
                logger.warning(
                    "rank %d needs %.1f times as long as the others for its own work; "
                    "`tabwright train doctor` measures its node", rank, times,
                )  # fmt: skip


def stragglers(
    seconds: Sequence[float], factor: float, least: float = 0.0
) -> list[tuple[int, float]]:
    """Ranks whose work took more than `factor` times the median, with how many times.

    `least`: what it must cost the run in seconds to be worth a word.
    """
    median = statistics.median_low(seconds)
    return [
        (rank, own / median)
        for rank, own in enumerate(seconds)
        if median > 0 and own / median > factor and own - median > least
    ]
