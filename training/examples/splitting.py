"""Split tokenised text at any character as if each part had been tokenised alone, but fast.

A byte-level tokenizer splits a text into words before it merges, and wherever a letter or digit is
followed by a blank there is such a split, whatever else stands around. So only the tokens between
a cut and the nearest of these places are made anew; the others stay. Tokenizers of other kinds
have every part tokenised whole. Read `Vocabulary.split`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tabwright.tokenizer import Tokenizer

Ids = npt.NDArray[np.int64]
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_BLANK = frozenset(b" \t\r\n")
_SAMPLE = "def f1 (a2\n\n    x9\t= y \r\nz  q7\n\treturn 0\n\n  É a ,b\n"


class Vocabulary:
    """The bytes of every token of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Read all of them once."""
        self.tokenizer = tokenizer
        pieces = [tokenizer.token_bytes(number) for number in range(tokenizer.vocab_size)]
        self._pieces = pieces
        self._sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self._ends_word = np.array([bool(piece) and piece[-1] in _WORD for piece in pieces])
        self._starts_blank = np.array([bool(piece) and piece[0] in _BLANK for piece in pieces])

    def raw(self, ids: Sequence[int]) -> bytes:
        """Bytes of `ids`; control tokens have none."""
        return b"".join([self._pieces[number] for number in ids])

    def text(self, ids: Sequence[int]) -> str | None:
        """Text of `ids`, or None if they begin or end within a character."""
        try:
            return self.raw(ids).decode("utf-8")
        except UnicodeDecodeError:
            return None

    def split(self, ids: Sequence[int], cuts: Sequence[int]) -> list[list[int]]:
        """Ids of the parts between `cuts`, ascending offsets into the bytes of `ids`.

        Every cut must lie between two characters.
        """
        known, raw = np.asarray(ids, dtype=np.int64), self.raw(ids)
        ends = [0, *cuts, len(raw)]
        if not self.has_words:
            return [self._encode(raw[begin:end]) for begin, end in pairwise(ends)]
        starts = np.concatenate([[0], np.cumsum(self._sizes[known])])
        inner = self._ends_word[known[:-1]] & self._starts_blank[known[1:]]
        safe = np.concatenate([[0], np.flatnonzero(inner) + 1, [len(known)]])
        return [self._part(known, raw, starts, safe, begin, end) for begin, end in pairwise(ends)]

    @cached_property
    def has_words(self) -> bool:
        """Whether words are told apart before merging, as a sample shows."""
        encode = self.tokenizer.encode
        whole = encode(_SAMPLE)
        places = [
            at
            for at in range(1, len(_SAMPLE))
            if _SAMPLE[at - 1].isascii() and _SAMPLE[at - 1].isalnum() and _SAMPLE[at].isspace()
        ]
        apart = all(encode(_SAMPLE[:at]) + encode(_SAMPLE[at:]) == whole for at in places)
        return apart and self.raw(whole) == _SAMPLE.encode()

    def _part(
        self, ids: Ids, raw: bytes, starts: Ids, safe: Ids, begin: int, end: int
    ) -> list[int]:
        at = starts[safe]
        first = int(safe[np.searchsorted(at, begin, "left")])
        last = int(safe[np.searchsorted(at, end, "right") - 1])
        if first >= last:
            return self._encode(raw[begin:end])
        return [
            *self._encode(raw[begin : int(starts[first])]),
            *ids[first:last].tolist(),
            *self._encode(raw[int(starts[last]) : end]),
        ]

    def _encode(self, raw: bytes) -> list[int]:
        return self.tokenizer.encode(raw.decode("utf-8")) if raw else []
