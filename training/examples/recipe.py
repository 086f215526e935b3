"""Which kind of example each window becomes, how much room it takes at most, and the example.

Everything is drawn from (seed, pass, window), a pass being one time through the data. Rows are
packed by the room before anything is made, so an example that takes more than it said it would is
made plain instead. Read `Recipe.plan`, then `Recipe.example`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tabwright.fim import FimFormat
from training.chance import drawn, share
from training.examples.denoising import DENOISERS, denoised
from training.examples.example import Example, Kind
from training.examples.infill import Infilling
from training.examples.prefix import continued
from training.examples.sentinels import Sentinels
from training.examples.splitting import Vocabulary

Numbers = npt.NDArray[np.int64]
_KIND, _HEADER, _DENOISER, _INNER = 1, 2, 3, 4  # what a draw is for
_SENTINELS = 4  # of a hole: three, and the end of text
_BORDERS = 6  # ids that tokenising anew at the two cuts may add
_SPARE_ROOM = _SENTINELS + _BORDERS + 14  # and a path
_MOST_PIECES = 32  # a document of more windows is cut into them before its holes are


class Rates(NamedTuple):
    """Shares of windows; what is left over learns every next token. header: that say their path."""

    fim: float = 0.5
    ul2: float = 0.0
    prefix: float = 0.0
    header: float = 0.5


class Pieces(NamedTuple):
    """Windows as columns. at, pieces: which of how many of their document. header: ids of it."""

    number: Numbers
    document: Numbers
    size: Numbers
    document_size: Numbers
    at: Numbers
    pieces: Numbers
    header: Numbers


class Plan(NamedTuple):
    """What is made of each window, as columns. room: ids it takes at most."""

    kind: Numbers
    header: npt.NDArray[np.bool_]
    denoiser: Numbers
    whole: npt.NDArray[np.bool_]
    room: Numbers


class Material(NamedTuple):
    """One window. document: the ids of the whole one, if the plan says so."""

    ids: Sequence[int]
    header: Sequence[int]
    language: str
    ends: bool
    at: int = 0
    pieces: int = 1
    document: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How windows become examples in one run. room: ids that a row has."""

    vocabulary: Vocabulary
    fim: FimFormat
    infilling: Infilling
    rates: Rates
    room: int
    seed: int
    sentinels: Sentinels | None = None
    whole_documents: bool = False

    @property
    def window(self) -> int:
        """Ids of the longest window: a row without what examples add, more where spans are cut."""
        return self.room - max(_SPARE_ROOM, self.room // 8 if self.rates.ul2 else 0)

    def header(self, path: str) -> list[int]:
        """Ids that say which file it is."""
        return self.fim.header(path, self.vocabulary.tokenizer)

    def header_sizes(self, paths: Sequence[str]) -> list[int]:
        """How many ids `header` gives for each path."""
        if self.fim.family.file is None:
            return [0] * len(paths)
        rows = self.vocabulary.tokenizer.encode_batch([path + "\n" for path in paths])
        return [len(row) + 1 if path else 0 for row, path in zip(rows, paths, strict=True)]

    def plan(self, passes: Numbers, windows: Pieces) -> Plan:
        """Decide what is made of windows in their passes."""
        kind = self._kinds(passes, windows.number)
        whole = np.zeros(len(kind), dtype=bool)
        if self.whole_documents:
            by_document = self._kinds(passes, windows.document)
            several = (windows.pieces > 1) & (windows.pieces <= _MOST_PIECES)
            whole = several & (by_document == Kind.FIM)
            # A window of a document that is not cut as a whole has no hole of its own either.
            kind = np.where(several, by_document, kind)
        kind = np.where((kind == Kind.PREFIX) & (windows.size < 2), Kind.NEXT_TOKEN, kind)
        ends = windows.at + 1 == windows.pieces
        bare = np.where(whole, windows.document_size, windows.size)
        bare = bare + np.where(kind == Kind.FIM, _SENTINELS + _BORDERS, ends)
        key = np.where(whole, windows.document, windows.number)
        wanted = share(drawn(self.seed, _HEADER, whole, passes, key)) < self.rates.header
        parts = np.where(whole, windows.pieces, 1)
        header = wanted & (-(-(bare + windows.header) // parts) <= self.room)
        room = np.minimum(-(-(bare + header * windows.header) // parts), self.room)
        denoiser = drawn(self.seed, _DENOISER, passes, windows.number) % np.uint64(len(DENOISERS))
        plan = Plan(kind, header, denoiser.astype(np.int64), whole, room)
        return self._with_denoising(plan, windows)

    def example(self, passed: int, key: int, plan: Plan, row: int, given: Material) -> Example:
        """Make the example of one window, which is in row `row` of the plan.

        key: the window's number; the document's where the whole one is cut.
        """
        kind, room = Kind(int(plan.kind[row])), int(plan.room[row])
        header = list(given.header) if plan.header[row] else []
        rng = Random(int(drawn(self.seed, _INNER, passed, np.array([key]))[0]))
        stop = self.fim.stop_ids[0]
        end = [stop] if given.ends else []
        if plan.whole[row]:
            return self._part_of_document(header, given, room, rng)
        if kind is Kind.PREFIX:
            return continued(given.ids, header, end, rng)
        if kind is Kind.UL2 and self.sentinels is not None:
            denoiser = DENOISERS[int(plan.denoiser[row])]
            tail = denoiser.tail(len(given.ids), self.room - len(header))
            return denoised(given.ids, header, denoiser, tail, self.sentinels, stop, rng)
        if kind is Kind.FIM:
            ids = self.infilling.ids(given.ids, given.language, header, rng)
            if ids is not None and len(ids) <= room:
                return Example(ids)
        return Example([*header, *given.ids, *end])

    def _part_of_document(
        self, header: list[int], given: Material, room: int, rng: Random
    ) -> Example:
        """One of the equal parts of a document with a hole; `rng` is the same for all of them."""
        ids = self.infilling.ids(given.document, given.language, header, rng)
        if ids is None or len(ids) > room * given.pieces:
            ids = [*header, *given.document, self.fim.stop_ids[0]]
        size = -(-len(ids) // given.pieces)
        return Example(ids[given.at * size : (given.at + 1) * size])

    def _kinds(self, passes: Numbers, keys: Numbers) -> Numbers:
        chosen = share(drawn(self.seed, _KIND, passes, keys))
        bounds = np.cumsum([self.rates.fim, self.rates.ul2, self.rates.prefix])
        kinds = np.array([Kind.FIM, Kind.UL2, Kind.PREFIX, Kind.NEXT_TOKEN], dtype=np.int64)
        return kinds[np.searchsorted(bounds, chosen, "right")]

    def _with_denoising(self, plan: Plan, windows: Pieces) -> Plan:
        """Room of denoised windows; where there is not enough, they are left as they are."""
        for row in np.flatnonzero(plan.kind == Kind.UL2):
            denoiser = DENOISERS[int(plan.denoiser[row])]
            size, header = int(windows.size[row]), int(plan.header[row] * windows.header[row])
            tail = denoiser.tail(size, self.room - header)
            if tail:
                plan.room[row] = header + size + denoiser.extra(tail)
            else:
                plan.kind[row] = Kind.NEXT_TOKEN
        return plan
