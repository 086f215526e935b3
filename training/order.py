"""Which windows stand in which row: a function of the seed and the row's number alone.

A *group* is a source, or all of them together. Its windows are shuffled for each lap through them,
cut into blocks, and each block is packed into rows that are shuffled again. Rows of several groups
alternate by their shares: a sequence that spreads them as evenly as whole rows allow, and that
depends on nothing but the shares, which may change at a given row. So row r is the same for every
world size and after every resume; the step s of the run reads rows [s·batch, (s+1)·batch).

Finding a row means packing the blocks before it, about a second for a million windows; the blocks
that are near are kept. Read `Order.row`.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.chance import shuffled
from training.fitting import fitted

Numbers = npt.NDArray[np.int64]
Room = Callable[[Numbers, Numbers], Numbers]
_LAP, _BLOCK = 11, 12  # what a draw is for
_LEAST_ROWS = 64  # of a lap; smaller groups are read several times in one
_CHUNK = 1 << 16
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio
_WORD = 1 << 64


class Row(NamedTuple):
    """The windows of one row, each with the pass in which it stands there."""

    group: str
    passes: Numbers
    windows: Numbers


class Group(NamedTuple):
    """Windows that are shuffled and packed together. rows: about so many hold all of them."""

    name: str
    windows: Numbers
    rows: int


class Shares(NamedTuple):
    """How the rows from `row` on are shared out among the groups."""

    row: int
    of: Mapping[str, float]


class Stream:
    """The endless rows of one group."""

    def __init__(self, group: Group, room_of: Room, *, room: int, seed: int, block: int) -> None:
        """Set up; nothing is packed yet. block: windows that are packed together."""
        self._group, self._room_of, self._room = group, room_of, room
        self._keys = (seed, zlib.crc32(group.name.encode()))
        self._copies = -(-_LEAST_ROWS // max(1, group.rows))
        self._items = len(group.windows) * self._copies
        self._block = block
        self._blocks = -(-self._items // block)
        self._firsts = [0]
        self._near: dict[int, list[Row]] = {}
        self._lap: tuple[int, Numbers] = (-1, np.empty(0, dtype=np.int64))

    def row(self, number: int) -> Row:
        """The row of that number."""
        while number >= self._firsts[-1]:
            self._firsts.append(self._firsts[-1] + len(self._packed(len(self._firsts) - 1)))
        block = bisect_right(self._firsts, number) - 1
        return self._packed(block)[number - self._firsts[block]]

    def lap_rows(self) -> int:
        """Number of rows of the first lap."""
        while len(self._firsts) <= self._blocks:
            self._firsts.append(self._firsts[-1] + len(self._packed(len(self._firsts) - 1)))
        return self._firsts[self._blocks]

    def _packed(self, block: int) -> list[Row]:
        if block not in self._near:
            while len(self._near) > 1:
                self._near.pop(next(iter(self._near)))
            self._near[block] = self._pack(block)
        return self._near[block]

    def _pack(self, block: int) -> list[Row]:
        lap, place = divmod(block, self._blocks)
        if lap != self._lap[0]:
            self._lap = (lap, shuffled(self._items, *self._keys, _LAP, lap))
        items = self._lap[1][place * self._block : (place + 1) * self._block]
        count = len(self._group.windows)
        passes, windows = lap * self._copies + items // count, self._group.windows[items % count]
        rows = fitted(self._room_of(passes, windows).tolist(), self._room)
        order = shuffled(len(rows), *self._keys, _BLOCK, block).tolist()
        return [Row(self._group.name, passes[rows[n]], windows[rows[n]]) for n in order]


class Order:
    """The rows of a run."""

    def __init__(self, streams: Mapping[str, Stream], shares: Sequence[Shares]) -> None:
        """`shares` are ascending by row and begin with row 0."""
        self._streams = streams
        self._names = list(streams)
        self._shares = shares
        self._counts = [np.zeros(len(self._names), dtype=np.int64)]  # before each chunk of rows
        self._chosen: tuple[int, Numbers] = (-1, np.empty(0, dtype=np.int64))

    def row(self, number: int) -> Row:
        """The row of that number."""
        if len(self._names) == 1:
            return self._streams[self._names[0]].row(number)
        chunk, place = divmod(number, _CHUNK)
        while chunk >= len(self._counts):
            chosen = self._choices(len(self._counts) - 1)
            counts = np.bincount(chosen, minlength=len(self._names))
            self._counts.append(self._counts[-1] + counts)
        chosen = self._choices(chunk)
        group = int(chosen[place])
        before = int(self._counts[chunk][group]) + int((chosen[:place] == group).sum())
        return self._streams[self._names[group]].row(before)

    def lap_rows(self) -> int:
        """Number of rows of the first laps of all groups."""
        return sum(stream.lap_rows() for stream in self._streams.values())

    def _choices(self, chunk: int) -> Numbers:
        """The group of each row of a chunk."""
        if self._chosen[0] != chunk:
            rows = np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK, dtype=np.uint64)
            with np.errstate(over="ignore"):
                places = rows * np.uint64(_GOLDEN)
            chosen = np.zeros(_CHUNK, dtype=np.int64)
            for start in self._shares:
                bounds = self._bounds(start)
                since = rows >= np.uint64(start.row)
                chosen[since] = np.searchsorted(bounds, places[since], "right")
            self._chosen = (chunk, chosen)
        return self._chosen[1]

    def _bounds(self, shares: Shares) -> npt.NDArray[np.uint64]:
        total = sum(shares.of.values())
        upper, bounds = 0.0, []
        for name in self._names[:-1]:
            upper += shares.of[name] / total
            bounds.append(min(int(upper * _WORD), _WORD - 1))
        return np.array(bounds, dtype=np.uint64)
