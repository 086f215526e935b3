"""Shingles of a text and their MinHash signature, in whole-array operations.

A shingle is `ngram` words in a row (runs of letters, digits and underscores; other bytes above 127
count as letters), hashed to 64 bits. The signature is the minimum of each of `permutations`
multiply-shift hashes (Dietzfelbinger et al. 1997) of the shingles; bands of `rows` minima are
hashed to the keys under which similar documents meet (Broder 1997; Leskovec et al., Mining of
Massive Datasets, ch. 3). All arithmetic is modulo 2^64, so every machine gets the same numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_SEED = 20260101
_CHUNK = 128  # shingles at a time: their table of hashes stays in the cache and is written again
_POWERS = 1 << 16
_LONGEST = 256  # characters of a word until its powers start again
MIN_SHINGLES = 5  # below, two texts are alike by accident


class Family(NamedTuple):
    """The random numbers of all hashes; the same in every process and on every machine."""

    byte_code: Hashes
    power: Hashes
    inverse: Hashes
    place: Hashes
    multiplier: Hashes
    addend: Hashes
    band: Hashes


@cache
def family(ngram: int, permutations: int, rows: int) -> Family:
    """Draw the hash functions."""
    rng = np.random.Generator(np.random.PCG64(_SEED))

    def odd(count: int) -> Any:
        return rng.integers(0, 2**64, count, dtype=np.uint64) | np.uint64(1)

    base = int(odd(1)[0])
    power = np.cumprod(np.full(_POWERS, base, dtype=np.uint64), dtype=np.uint64)
    back = np.full(_POWERS, pow(base, -1, 2**64), dtype=np.uint64)
    back[0] = 1
    inverse = np.cumprod(back, dtype=np.uint64)
    return Family(
        odd(256), power, inverse, odd(ngram), odd(permutations), odd(permutations), odd(rows)
    )


@cache
def _word_bytes() -> npt.NDArray[np.bool_]:
    table = np.zeros(256, dtype=bool)
    table[list(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] = True
    table[128:] = True
    return table


def words(raw: bytes, hashes: Family) -> Hashes:
    """Hash every word of `raw`, in order; shape (words,)."""
    codes = np.frombuffer(raw, dtype=np.uint8)
    inside = np.zeros(len(codes) + 2, dtype=np.bool_)
    inside[1:-1] = _word_bytes()[codes]
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    # A word's sum of codes times powers is a difference of two sums over the text, moved back.
    fits = len(codes) <= _POWERS
    powers = hashes.power[: len(codes)] if fits else np.resize(hashes.power, len(codes))
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(hashes.byte_code[codes] * powers, out=sums[1:])
    found = (sums[ends] - sums[starts]) * hashes.inverse[starts % _POWERS]
    over = (ends - starts > _LONGEST) | (starts // _POWERS != (ends - 1) // _POWERS)
    for word in np.flatnonzero(over):
        weights = hashes.power[np.arange(ends[word] - starts[word]) % _LONGEST]
        found[word] = (hashes.byte_code[codes[starts[word] : ends[word]]] * weights).sum()
    return _mix(found)


def shingles(text: str, ngram: int, hashes: Family) -> Hashes:
    """Hash every run of `ngram` words, without repeats, in ascending order; shape (shingles,)."""
    found = words(text.encode("utf-8", "surrogatepass"), hashes)
    every = (grams(found, ngram, hashes) >> np.uint64(32)).astype(np.uint32)
    every.sort()  # four bytes each: several times as fast as np.unique of eight
    unique: Hashes = every[np.diff(every, prepend=~every[:1]) != 0].astype(np.uint64)
    return unique


def grams(found: Hashes, ngram: int, hashes: Family) -> Hashes:
    """Hash every run of `ngram` words to 64 bits, in their order, repeats and all."""
    count = len(found) - ngram + 1
    if count < 1:
        return np.zeros(0, dtype=np.uint64)
    joined = np.zeros(count, dtype=np.uint64)
    for at in range(ngram):
        joined += found[at : at + count] * hashes.place[at]
    return _mix(joined)


def signature(found: Hashes, hashes: Family) -> Hashes:
    """Minimum of every hash over the shingles; shape (permutations,)."""
    lowest = np.full(len(hashes.multiplier), 2**64 - 1, dtype=np.uint64)
    whole = np.empty((min(_CHUNK, len(found)), len(lowest)), dtype=np.uint64)
    for at in range(0, len(found), _CHUNK):
        some = found[at : at + _CHUNK, None]
        table = np.multiply(some, hashes.multiplier, out=whole[: len(some)])
        table += hashes.addend
        np.minimum(lowest, np.minimum.reduce(table, axis=0), out=lowest)
    return lowest >> np.uint64(32)


def band_keys(lowest: Hashes, bands: int, rows: int, hashes: Family) -> npt.NDArray[np.int64]:
    """Hash each band's minima with the band's number; shape (bands,)."""
    table = lowest[: bands * rows].reshape(bands, rows) * hashes.band[:rows]
    keys = _mix(table.sum(axis=1) + np.arange(bands, dtype=np.uint64) * hashes.power[0])
    return keys.view(np.int64)


def jaccard(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Share of common shingles of two ascending arrays without repeats."""
    common = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - common
    return common / union if union else 0.0


def _mix(values: Hashes) -> Hashes:
    """Spread every bit of the input over the output (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
