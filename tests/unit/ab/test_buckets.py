"""Buckets are MurmurHash3's and flagd's, to the bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ab.buckets import bucket, murmur3_32, pick

SEED = 0x9747B28C
# As published for MurmurHash3_x86_32; each is found in several implementations' own tests.
VECTORS = [
    ("", 0, 0x00000000),
    ("", 1, 0x514E28B7),
    ("", 0xFFFFFFFF, 0x81F16F39),
    ("test", 0, 0xBA6BD213),
    ("test", SEED, 0x704B81DC),
    ("Hello, world!", 0, 0xC0363E43),
    ("Hello, world!", SEED, 0x24884CBA),
    ("The quick brown fox jumps over the lazy dog", 0, 0x2E4FF723),
    ("The quick brown fox jumps over the lazy dog", SEED, 0x2FA826CD),
    ("aaaa", SEED, 0x5A97808A),
    ("abc", SEED, 0xC84A62DD),
    ("ab", SEED, 0x74875592),
    ("a", SEED, 0x7FA09EA6),
    ("ππππππππ", SEED, 0xD58063C1),
]


@pytest.mark.parametrize(("text", "seed", "wanted"), VECTORS)
def test_the_hash_is_the_published_one(text: str, seed: int, wanted: int) -> None:
    assert murmur3_32(text.encode(), seed) == wanted


# Keys from flagd's conformance suite, chosen for hashes at the borders of the 32-bit range.
@pytest.mark.parametrize(
    ("text", "place"), [("ejOoVL", 0), ("bY9fO-", 0), ("SI7p-", 0), ("6LvT0", 1), ("ceQdGm", 1)]
)
def test_hashes_at_the_borders_fall_to_flagds_side(text: str, place: int) -> None:
    assert pick(text, [50, 50]) == place


@given(st.text(), st.integers(1, 2**31 - 1))
def test_every_text_has_a_bucket(text: str, total: int) -> None:
    assert 0 <= bucket(text, total) < total


@given(st.text(), st.lists(st.integers(0, 1000), min_size=1).filter(any))
def test_nothing_falls_to_a_weight_of_zero(text: str, weights: list[int]) -> None:
    chosen = pick(text, weights)
    assert chosen is not None
    assert weights[chosen] > 0


def test_weights_are_met() -> None:
    counts = [0, 0, 0]
    for number in range(20_000):
        chosen = pick(f"user-{number}", [1, 2, 7])
        assert chosen is not None
        counts[chosen] += 1
    for count, share in zip(counts, (0.1, 0.2, 0.7), strict=True):
        assert count == pytest.approx(20_000 * share, rel=0.05)
