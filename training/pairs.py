"""Pairs of an accepted and a rejected suggestion for the same place, as rows to be compared.

A line of the file is `{"prefix", "suffix", "path", "chosen", "rejected"}`; `tabwright ab
export-preferences` writes such files, and any other program may. A row holds one pair: the prompt
as serving builds it with the chosen text, then the same prompt with the rejected one. Only the two
texts are scored. One pair of twenty, the first by hash, is held out. Read `Pairs.batch`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from tabwright.errors import ConfigError
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.chance import shuffled
from training.data.shards import TRAIN
from training.loader import IGNORE, Rows

CHOSEN, REJECTED = 0, 1  # numbers of the two in `Rows.documents_BT`
_HELD_OUT_OF = 20
_ORDER = 21  # what a draw is for


class _Line(BaseModel):
    prefix: str
    suffix: str | None = None
    path: str = ""
    chosen: Annotated[str, Field(min_length=1)]
    rejected: Annotated[str, Field(min_length=1)]


class Pair(NamedTuple):
    """Ids of the prompt and of the two texts, each with the end of text."""

    name: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


class Pairs:
    """Rows of the pairs of one split, in an order that the seed decides, lap after lap."""

    def __init__(
        self,
        file: Path,
        split: str,
        tokenizer: Tokenizer,
        fim: FimFormat,
        *,
        context: int,
        seed: int,
    ) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, a line is wrong, or it has fewer than two pairs.
        """
        self._context, self._seed, self._padding = context, seed, fim.stop_ids[0]
        room = (context + 1) // 2
        unique = {pair.name: pair for pair in _read(file, tokenizer, fim, room)}
        pairs = [unique[name] for name in sorted(unique)]
        if len(pairs) < 2:
            raise ConfigError(f"preference.pairs: {file} has {len(pairs)} pairs; give 2 or more")
        held_out = -(-len(pairs) // _HELD_OUT_OF)
        self._pairs = pairs[held_out:] if split == TRAIN else pairs[:held_out]
        self._lap: tuple[int, Sequence[int]] = (-1, ())
        self._silent: frozenset[str] = frozenset()

    def batch(self, step: int, batch_rows: int, rank: int = 0, world: int = 1) -> Rows:
        """Rows of one step for one rank; `world` must divide `batch_rows`."""
        first = step * batch_rows
        numbers = range(first + rank, first + batch_rows, world)
        shape = (len(numbers), self._context + 1)
        ids_BT = np.full(shape, self._padding, dtype=np.int64)
        targets_BT = np.full(shape, IGNORE, dtype=np.int64)
        documents_BT = np.full(shape, -1, dtype=np.int32)
        pairs = [self._pair(number) for number in numbers]
        for place, pair in enumerate(pairs):
            at = 0
            for which, text in ((CHOSEN, pair.chosen), (REJECTED, pair.rejected)):
                middle, end = at + len(pair.prompt), at + len(pair.prompt) + len(text)
                ids_BT[place, at:middle] = pair.prompt
                ids_BT[place, middle:end] = text
                if self._silent.isdisjoint(_names(pair)):
                    targets_BT[place, middle:end] = text
                documents_BT[place, at:end] = which
                at = end
        return Rows(
            ids_BT[:, :-1], targets_BT[:, 1:], documents_BT[:, :-1],
            np.zeros((len(numbers), self._context), dtype=bool), tuple(numbers),
            tuple(map(_names, pairs)),
        )  # fmt: skip

    def silence(self, samples: Iterable[str]) -> None:
        """Let these pairs count nothing from now on; they keep their places."""
        self._silent = self._silent.union(samples)

    def samples(self, number: int) -> tuple[str, ...]:
        """Names of the two texts in a row."""
        return _names(self._pair(number))

    def groups(self, numbers: Iterable[int]) -> dict[str, int]:
        """All rows are of one source."""
        return {"pairs": len(list(numbers))}

    def _pair(self, number: int) -> Pair:
        lap, place = divmod(number, len(self._pairs))
        if self._lap[0] != lap:
            self._lap = (lap, shuffled(len(self._pairs), self._seed, _ORDER, lap).tolist())
        return self._pairs[self._lap[1][place]]


def _names(pair: Pair) -> tuple[str, str]:
    return f"{pair.name}:{CHOSEN}", f"{pair.name}:{REJECTED}"


def _read(file: Path, tokenizer: Tokenizer, fim: FimFormat, room: int) -> Iterator[Pair]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _pair_of(line, f"{file}: line {number}", tokenizer, fim, room)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"preference.pairs: {file}: {error}") from error


def _pair_of(line: str, place: str, tokenizer: Tokenizer, fim: FimFormat, room: int) -> Pair:
    try:
        told = _Line.model_validate_json(line)
    except ValidationError as error:
        rows = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"preference.pairs: {place}: {rows}") from None
    texts = [[*tokenizer.encode(text), fim.stop_ids[0]] for text in (told.chosen, told.rejected)]
    header = fim.header(told.path, tokenizer)
    suffix = None if told.suffix is None else tokenizer.encode(told.suffix)
    used = max(map(len, texts)) + len(header) + fim.overhead(fill=suffix is not None)
    left = room - used
    if left < 1:
        raise ConfigError(f"preference.pairs: {place}: longer than half of data.context")
    suffix = None if suffix is None else suffix[: left // 4]
    # What is near the cursor stays, as in serving.
    prefix = tokenizer.encode(told.prefix)
    prefix = prefix[max(0, len(prefix) - left + len(suffix or ())) :]
    name = hashlib.blake2b(told.model_dump_json().encode(), digest_size=16).hexdigest()
    return Pair(name, fim.prompt(prefix, suffix, header), texts[0], texts[1])
