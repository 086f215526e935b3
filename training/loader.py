"""Batches as a function of (seed, step) alone, made while the model computes.

`order.py` says which windows stand in which row, `corpus.py` makes their examples, and a row is
these examples one after the other, padded with the end-of-text id. Padding, what an example keeps
silent and the first id of each example carry no loss. Read `Loader.batch`; `Ahead` makes the next
batches in a thread, in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from training.corpus import Corpus
from training.examples.example import Example
from training.order import Order, Row

IGNORE = -100


class Rows(NamedTuple):
    """Rows of one step, each of shape (rows, context) but the last two.

    targets_BT: the ids after inputs_BT, IGNORE where there is no loss. documents_BT: which example
    of its row an id belongs to, -1 in padding. prefixes_BT: whether it is in a prefix whose ids may
    see each other. numbers: of the rows in the run. samples: ids of what stands in each row.
    """

    inputs_BT: npt.NDArray[np.int64]
    targets_BT: npt.NDArray[np.int64]
    documents_BT: npt.NDArray[np.int32]
    prefixes_BT: npt.NDArray[np.bool_]
    numbers: tuple[int, ...]
    samples: tuple[tuple[str, ...], ...]


class Loader:
    """Reads rows of one split. corpora: what each group's windows belong to."""

    def __init__(
        self, order: Order, corpora: dict[str, Corpus], *, context: int, padding: int
    ) -> None:
        """Set up; rows are made when they are asked for."""
        self._order, self._corpora = order, corpora
        self._context, self._padding = context, padding
        self._silent: frozenset[str] = frozenset()

    def batch(self, step: int, batch_rows: int, rank: int = 0, world: int = 1) -> Rows:
        """Rows of one step for one rank; `world` must divide `batch_rows`."""
        first = step * batch_rows
        return self.rows(range(first + rank, first + batch_rows, world))

    def rows(self, numbers: Sequence[int]) -> Rows:
        """Rows by their numbers in the run."""
        shape = (len(numbers), self._context + 1)
        ids_BT = np.full(shape, self._padding, dtype=np.int64)
        targets_BT = np.full(shape, IGNORE, dtype=np.int64)
        documents_BT = np.full(shape, -1, dtype=np.int32)
        prefixes_BT = np.zeros(shape, dtype=bool)
        rows = [self._order.row(number) for number in numbers]
        samples = tuple(map(self._names, rows))
        for place, (examples, names) in enumerate(zip(self._made(rows), samples, strict=True)):
            at = 0
            for within, (example, name) in enumerate(zip(examples, names, strict=True)):
                end = at + len(example.ids)
                ids_BT[place, at:end] = example.ids
                if name not in self._silent:
                    targets_BT[place, at:end] = ids_BT[place, at:end]
                    for start, stop in ((0, 1), *example.silent):
                        targets_BT[place, at + start : at + stop] = IGNORE
                documents_BT[place, at:end] = within
                prefixes_BT[place, at + example.prefix[0] : at + example.prefix[1]] = True
                at = end
        return Rows(
            ids_BT[:, :-1], targets_BT[:, 1:], documents_BT[:, :-1], prefixes_BT[:, :-1],
            tuple(numbers), samples,
        )  # fmt: skip

    def silence(self, samples: Iterable[str]) -> None:
        """Let these samples carry no loss from now on; they keep their places."""
        self._silent = self._silent.union(samples)

    def samples(self, number: int) -> tuple[str, ...]:
        """Ids of what stands in a row, without making it."""
        return self._names(self._order.row(number))

    def groups(self, numbers: Iterable[int]) -> dict[str, int]:
        """How many of these rows are of each source, or of all together."""
        return dict(Counter(self._order.row(number).group for number in numbers))

    def lap_rows(self) -> int:
        """Number of rows in the first lap through the data."""
        return self._order.lap_rows()

    def _names(self, row: Row) -> tuple[str, ...]:
        corpus = self._corpora[row.group]
        return tuple(corpus.sample(window) for window in row.windows.tolist())

    def _made(self, rows: Sequence[Row]) -> list[list[Example]]:
        """Examples of each row; all of a group are made together, which is faster."""
        made: list[list[Example]] = [[] for _ in rows]
        for group in {row.group for row in rows}:
            places = [place for place, row in enumerate(rows) if row.group == group]
            passes = np.concatenate([rows[place].passes for place in places])
            windows = np.concatenate([rows[place].windows for place in places])
            examples = iter(self._corpora[group].examples(passes, windows))
            for place in places:
                made[place] = list(islice(examples, len(rows[place].windows)))
        return made


class RowSource(Protocol):
    """Rows of a run, of whatever they are made: `Loader`, or `training.pairs.Pairs`."""

    def batch(self, step: int, batch_rows: int, rank: int = 0, world: int = 1) -> Rows:
        """Rows of one step for one rank; `world` must divide `batch_rows`."""
        ...

    def silence(self, samples: Iterable[str]) -> None:
        """Let these samples carry no loss from now on; they keep their places."""
        ...

    def samples(self, number: int) -> tuple[str, ...]:
        """Ids of what stands in a row."""
        ...

    def groups(self, numbers: Iterable[int]) -> dict[str, int]:
        """How many of these rows are of each source, or of all together."""
        ...


class Ahead:
    """A loader whose next batches are made in a thread while the last one is used.

    Any step may be asked for; the steps after it are then the next ones. The thread ends with the
    program, or with `close`.
    """

    def __init__(self, loader: RowSource, depth: int = 2) -> None:
        """Make `depth` batches ahead."""
        self._loader, self._depth = loader, depth
        self._made: dict[tuple[int, int, int, int], Future[Rows]] = {}
        self._thread = ThreadPoolExecutor(1, "loader")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def batch(self, step: int, batch_rows: int, rank: int = 0, world: int = 1) -> Rows:
        """Rows of one step; what was made for steps out of turn is forgotten."""
        wanted = [(step + more, batch_rows, rank, world) for more in range(self._depth + 1)]
        for other in [known for known in self._made if known not in wanted]:
            self._made.pop(other).cancel()
        for near in wanted:
            if near not in self._made:
                self._made[near] = self._thread.submit(self._loader.batch, *near)
        return self._made.pop(wanted[0]).result()

    def silence(self, samples: Iterable[str]) -> None:
        """Let these samples carry no loss from the next batch asked for on."""
        for future in self._made.values():
            future.cancel()
        self._made.clear()
        self._thread.submit(self._loader.silence, frozenset(samples)).result()

    def groups(self, numbers: Iterable[int]) -> dict[str, int]:
        """How many of these rows are of each source, or of all together."""
        return self._thread.submit(self._loader.groups, tuple(numbers)).result()

    def close(self) -> None:
        """Stop making batches."""
        self._thread.shutdown(cancel_futures=True)
