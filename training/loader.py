"""Batches as a function of (seed, step) alone.

Documents are cut into windows, the windows are shuffled by the seed and packed, in that order, into
rows of `context` + 1 ids. Row r of the run is the same for every world size and after every resume:
step s takes rows [s·batch, (s+1)·batch), and each rank its share of them. An epoch reshuffles and
cuts new holes. Rows are padded with the end-of-text id and the padding carries no loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.data.infill import Infilling
from training.data.shards import Shard

IGNORE = -100
_OVERHEAD = 24  # sentinels, a path header and what re-tokenising at the hole's borders may add


class Window(NamedTuple):
    """A piece of one document: ids [start, end) of a shard."""

    shard: int
    start: int
    end: int
    path: str
    ends: bool


class Rows(NamedTuple):
    """Token ids and their successors, int64, shape (rows, context); IGNORE carries no loss."""

    inputs_BT: npt.NDArray[np.int64]
    targets_BT: npt.NDArray[np.int64]


class Loader:
    """Reads rows of one split. `shards` must hold at least one window."""

    def __init__(
        self, shards: list[Shard], infilling: Infilling, *, context: int, seed: int
    ) -> None:
        """Cut every document into windows that leave room for the sentinels."""
        self._shards, self._infilling = shards, infilling
        self._context, self._seed = context, seed
        self._windows = [
            Window(number, entry.start + at, entry.start + min(at + size, entry.tokens),
                   entry.path, at + size >= entry.tokens)
            for size in (context - _OVERHEAD,)
            for number, shard in enumerate(shards)
            for entry in shard.entries
            for at in range(0, entry.tokens, size)
        ]  # fmt: skip
        self._epoch = -1
        self._packed: list[npt.NDArray[np.int64]] = []
        self._first_row = 0

    def batch(self, step: int, batch_rows: int, rank: int = 0, world: int = 1) -> Rows:
        """Rows of one step for one rank; `world` must divide `batch_rows`."""
        first = step * batch_rows
        mine = range(first + rank, first + batch_rows, world)
        pairs = [self._row(row) for row in mine]
        return Rows(np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs]))

    def rows(self) -> int:
        """Number of rows in the first epoch."""
        self._enter(0)
        return len(self._packed)

    def _row(self, row: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        if self._epoch < 0 or row < self._first_row:
            self._enter(0)
        while row >= self._first_row + len(self._packed):
            self._enter(self._epoch + 1)
        length = self._context + 1
        ids: list[int] = []
        for index in self._packed[row - self._first_row]:
            window = self._windows[index]
            rng = np.random.default_rng((self._seed, self._epoch, int(index)))
            span = self._shards[window.shard].ids[window.start : window.end].tolist()
            ids.extend(self._infilling.example(span, window.path, rng, ends=window.ends))
        real = min(len(ids), length)
        padded = np.full(length, self._infilling.fim.stop_ids[0], dtype=np.int64)
        padded[:real] = ids[:real]
        targets = padded[1:].copy()
        targets[max(real - 1, 0) :] = IGNORE
        return padded[:-1], targets

    def _enter(self, epoch: int) -> None:
        """Shuffle and pack the windows of one epoch."""
        if epoch == self._epoch:
            return
        self._first_row = 0 if epoch == 0 else self._first_row + len(self._packed)
        self._epoch = epoch
        rng: Any = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(len(self._windows))
        packed, start, used = [], 0, 0
        for position, index in enumerate(order):
            cost = self._windows[index].end - self._windows[index].start + _OVERHEAD
            if used + cost > self._context and used:
                packed.append(order[start:position])
                start, used = position, 0
            used += cost
        packed.append(order[start:])
        self._packed = packed
