"""A digest of all samples that a run has read, in which rows, however many ranks read them.

Each row has a hash of its number and its samples' ids. Their sum does not depend on who read which
row, so ranks add up their own and the sums of the ranks are added at a checkpoint; a row that is
left out, read twice or read in another place changes it. Two sums of 48 bits each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

_LANE = 48
_MASK = (1 << _LANE) - 1


class Consumed:
    """The sums of what was read so far. lanes: of this rank since they were last gathered."""

    def __init__(self, digest: str = "") -> None:
        """Start from nothing, or from what a checkpoint says."""
        known = int(digest, 16) if digest else 0
        self._known = [known >> _LANE & _MASK, known & _MASK]
        self.lanes = [0, 0]

    def add(self, numbers: Iterable[int], samples: Iterable[Sequence[str]]) -> None:
        """Count rows with their numbers and the ids of their samples."""
        for number, names in zip(numbers, samples, strict=True):
            told = "\n".join([str(number), *names]).encode()
            row = int.from_bytes(hashlib.blake2b(told, digest_size=2 * _LANE // 8).digest(), "big")
            self.lanes[0] = (self.lanes[0] + (row >> _LANE)) & _MASK
            self.lanes[1] = (self.lanes[1] + row) & _MASK

    def gather(self, lanes: Sequence[int]) -> None:
        """Take in `lanes`, added up over all ranks, in place of this rank's own."""
        self._known = [(a + b) & _MASK for a, b in zip(self._known, lanes, strict=True)]
        self.lanes = [0, 0]

    def digest(self) -> str:
        """What was gathered, as 24 characters."""
        return f"{self._known[0] << _LANE | self._known[1]:024x}"
