"""Windows of the documents in a shard folder, and the examples that are made of them.

A document is cut into windows that a row has room for. The windows are columns of numbers beside
the memory maps of the shards, 30 bytes each; nothing else is kept of them. Read `Documents`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.data.shards import Entry, Shard
from training.examples.example import Example
from training.examples.recipe import Material, Pieces, Recipe

Numbers = npt.NDArray[np.int64]
_PATHS_AT_ONCE = 20_000


class Corpus(Protocol):
    """Numbered windows of some data."""

    def groups(self) -> dict[str, Numbers]:
        """Numbers of the windows of each source."""
        ...

    def ids(self, windows: Numbers) -> int:
        """Ids that so many windows hold."""
        ...

    def room(self, passes: Numbers, windows: Numbers) -> Numbers:
        """Ids that the example of each window takes at most, in the pass beside it."""
        ...

    def examples(self, passes: Numbers, windows: Numbers) -> list[Example]:
        """Make the example of each window, in the pass beside it."""
        ...

    def sample(self, window: int) -> str:
        """What the window is called in logs: the id of its document, and where it begins."""
        ...


class Documents:
    """The windows of shards."""

    def __init__(self, shards: Sequence[Shard], recipe: Recipe) -> None:
        """Cut every document into windows."""
        self._shards, self._recipe = shards, recipe
        self._first = np.cumsum([0, *(len(shard.entries) for shard in shards)])
        tokens = np.array([e.tokens for s in shards for e in s.entries], dtype=np.int64)
        pieces = -(-tokens // recipe.window)
        self._tokens, self._pieces = tokens, pieces
        self._document = np.repeat(np.arange(len(tokens), dtype=np.int32), pieces)
        ends = np.cumsum(pieces)
        self._at = (np.arange(len(self._document)) - np.repeat(ends - pieces, pieces)).astype(
            np.int32
        )
        self._header = self._header_sizes()

    def groups(self) -> dict[str, Numbers]:
        """Numbers of the windows of each source."""
        sources = [entry.source for shard in self._shards for entry in shard.entries]
        names, of_document = np.unique(np.array(sources, dtype=str), return_inverse=True)
        of_window = of_document[self._document] if len(sources) else np.empty(0, dtype=np.int64)
        return {str(name): np.flatnonzero(of_window == n) for n, name in enumerate(names)}

    def ids(self, windows: Numbers) -> int:
        """Ids that so many windows hold."""
        return int(self._sizes(windows).sum())

    def room(self, passes: Numbers, windows: Numbers) -> Numbers:
        """Ids that the example of each window takes at most, in the pass beside it."""
        return self._recipe.plan(passes, self._columns(windows)).room

    def examples(self, passes: Numbers, windows: Numbers) -> list[Example]:
        """Make the example of each window, in the pass beside it."""
        columns = self._columns(windows)
        plan = self._recipe.plan(passes, columns)
        keys = np.where(plan.whole, columns.document, columns.number).tolist()
        made = []
        for row, (passed, window) in enumerate(zip(passes.tolist(), windows.tolist(), strict=True)):
            material = self._material(window, whole=bool(plan.whole[row]))
            made.append(self._recipe.example(passed, keys[row], plan, row, material))
        return made

    def sample(self, window: int) -> str:
        """What the window is called in logs: the id of its document, and where it begins."""
        entry, _ = self._entry(int(self._document[window]))
        return f"{entry.id}:{int(self._at[window]) * self._recipe.window}"

    def _material(self, window: int, *, whole: bool) -> Material:
        document, at = int(self._document[window]), int(self._at[window])
        entry, shard = self._entry(document)
        size = self._recipe.window
        begin, end = entry.start + at * size, entry.start + min((at + 1) * size, entry.tokens)
        stored = shard.ids[entry.start : entry.start + entry.tokens] if whole else ()
        return Material(
            ids=shard.ids[begin:end].tolist(),
            header=self._recipe.header(entry.path),
            language=entry.language,
            ends=at + 1 == int(self._pieces[document]),
            at=at,
            pieces=int(self._pieces[document]),
            document=np.asarray(stored, dtype=np.int64).tolist(),
        )

    def _entry(self, document: int) -> tuple[Entry, Shard]:
        number = int(np.searchsorted(self._first, document, "right")) - 1
        shard = self._shards[number]
        return shard.entries[document - int(self._first[number])], shard

    def _columns(self, windows: Numbers) -> Pieces:
        document = self._document[windows].astype(np.int64)
        return Pieces(
            number=windows,
            document=document,
            size=self._sizes(windows),
            document_size=self._tokens[document],
            at=self._at[windows].astype(np.int64),
            pieces=self._pieces[document],
            header=self._header[document],
        )

    def _sizes(self, windows: Numbers) -> Numbers:
        size = self._recipe.window
        left: Numbers = self._tokens[self._document[windows]] - self._at[windows] * size
        return np.minimum(size, left)

    def _header_sizes(self) -> Numbers:
        """Ids of each document's header."""
        paths = [entry.path for shard in self._shards for entry in shard.entries]
        sizes: list[int] = []
        if not self._recipe.rates.header:
            return np.zeros(len(paths), dtype=np.int64)
        for start in range(0, len(paths), _PATHS_AT_ONCE):
            sizes += self._recipe.header_sizes(paths[start : start + _PATHS_AT_ONCE])
        return np.array(sizes, dtype=np.int64)
