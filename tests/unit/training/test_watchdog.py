"""Is the rank named that others wait for, or that is slow?"""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from training.pace import stragglers
from training.watchdog import Beat, blame


def _beat(rank: int, count: int, at: float = 100.0) -> Beat:
    return Beat(rank, f"node{rank}", count, "forward", at)


def test_the_rank_that_did_least_is_named() -> None:
    told = blame([_beat(0, 9), _beat(1, 7), _beat(2, 9)], now=101)
    assert told == "rank 1 on node1 (forward) is behind, the others wait for it"


def test_a_rank_that_gives_no_sign_of_life_is_named_even_if_it_did_as_much() -> None:
    assert "rank 2 on node2" in (told := blame([_beat(0, 9), _beat(1, 9), _beat(2, 9, at=5)], 101))
    assert "rank 0" not in told


def test_ranks_that_stand_at_one_place_are_all_named() -> None:
    assert blame([_beat(0, 9), _beat(1, 9)], now=101).startswith("all ranks")


def test_only_a_rank_above_the_factor_is_a_straggler() -> None:
    assert stragglers([1.0, 1.1, 2.0, 1.0], 1.5) == [(2, 2.0)]
    assert stragglers([1.0, 2.0], 1.5) == [(1, 2.0)]
    assert not stragglers([1.0, 1.4], 1.5)
    assert not stragglers([0.001, 0.009], 1.5, least=0.1)
