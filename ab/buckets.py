"""Which bucket of how many a text falls into: MurmurHash3 and integer arithmetic, as flagd does it.

The 32-bit x86 variant of the hash over the text's UTF-8 bytes, seed 0, is a fraction of 2^32; the
bucket is that fraction of the total, rounded down. So buckets of one total are nested in no other
total, but for one total they stay where they are while the borders between variants move.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAX_TOTAL = 2**31 - 1
_WORDS = struct.Struct("<I")


def bucket(text: str, total: int) -> int:
    """Bucket of `text`, from 0 to `total` - 1."""
    return (murmur3_32(text.encode("utf-8", "surrogatepass")) * total) >> 32


def pick(text: str, weights: Sequence[int]) -> int | None:
    """Position of the weight that `text` falls to; None if all are zero."""
    total = sum(weights)
    place = bucket(text, total)
    end = 0
    for position, weight in enumerate(weights):
        end += weight
        if place < end:
            return position
    return None


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3 (x86, 32 bits) of `data`."""
    state = seed
    whole = len(data) & ~3
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        word = word * 0xCC9E2D51 & 0xFFFFFFFF
        state ^= (word << 15 | word >> 17) * 0x1B873593 & 0xFFFFFFFF
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & 0xFFFFFFFF
    if whole != len(data):
        word = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        state ^= (word << 15 | word >> 17) * 0x1B873593 & 0xFFFFFFFF
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    state = (state ^ state >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return state ^ state >> 16
