"""Intervals and comparisons, against values worked out by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics import bootstrap, compare, mcnemar
from tabwright.errors import InvalidRequest

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(SHARES)
def test_an_interval_holds_the_mean_and_stays_inside_the_values(values: list[float]) -> None:
    found = bootstrap(values, resamples=200)
    assert math.isclose(found.value, statistics.fmean(values), abs_tol=1e-12)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found == bootstrap(values, resamples=200), "the same each time"


def test_an_interval_is_as_wide_as_theory_says() -> None:
    values = [0.0, 1.0] * 200
    found = bootstrap(values)
    expected = 1.96 * 0.5 / math.sqrt(400)
    assert math.isclose(found.high - found.value, expected, rel_tol=0.12)
    assert math.isclose(found.value - found.low, expected, rel_tol=0.12)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (10, 2, 2 * (1 + 12 + 66) / 4096), (3, 3, 1.0)],
)
def test_mcnemar_is_a_fair_coin(better: int, worse: int, p: float) -> None:
    assert math.isclose(mcnemar(better, worse), p)
    assert mcnemar(better, worse) == mcnemar(worse, better)


def test_runs_are_compared_on_the_tasks_that_both_have() -> None:
    before = {f"t{i}": 0.5 for i in range(10)} | {"only here": 1.0}
    after = {f"t{i}": 0.7 for i in range(10)} | {"only there": 0.0}
    found = compare(before, after)
    assert found.tasks == 10
    assert math.isclose(found.difference.value, 0.2)
    assert (found.better, found.worse) == (10, 0)
    assert found.non_inferior(0.0)
    assert not compare(after, before).non_inferior(0.1)
    assert compare(before, before).mcnemar_p == 1.0


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        compare({"a": 1.0}, {"b": 1.0})
