"""Numbers drawn by chance that follow from their keys alone, the same on every machine.

SplitMix64 (Steele, Lea and Flood 2014) over the keys, one after the other: nothing is remembered,
so the draw for one window needs none of the draws before it. Read `drawn`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def drawn(*keys: int | npt.NDArray[np.integer]) -> Words:
    """Draw 64 bits for each element of the keys, which are broadcast."""
    state: Words = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            word = np.uint64(key & _MASK) if isinstance(key, int) else key.astype(np.uint64)
            state = _scrambled(state + _STEP + word)
    return state


def share(words: Words) -> npt.NDArray[np.float64]:
    """Give numbers in [0, 1), from the upper bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(count: int, *keys: int) -> npt.NDArray[np.int64]:
    """List the numbers below `count` in an order that the keys decide."""
    return np.argsort(drawn(*keys, np.arange(count)), kind="stable")


def _scrambled(word: Words) -> Words:
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))
