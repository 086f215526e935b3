"""Token buckets: exact about how much, exact about when, and small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rates import Rate, Rates
from tabwright.errors import ConfigError, RateLimited


class Clock:
    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


@given(
    st.floats(0.01, 100),
    st.integers(1, 10),
    st.lists(st.floats(0, 20), min_size=1, max_size=80),
)
def test_never_more_than_burst_and_rate_and_never_less(
    per_s: float, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    rates, limits = Rates(clock), {"me": Rate(per_s, burst)}
    level = float(burst)  # the bucket as the textbook has it
    for pause in pauses:
        clock.now += pause / per_s
        level = min(float(burst), level + pause)
        if level > 1 - 1e-7:
            rates.take(limits)
            level = max(level - 1, 0)
            continue
        with pytest.raises(RateLimited) as refused:
            rates.take(limits)
        wait_s = refused.value.retry_after_s
        assert wait_s == pytest.approx((1 - level) / per_s, abs=1e-5 / per_s)


def test_who_comes_back_when_told_is_let_in() -> None:
    clock = Clock()
    rates, limits = Rates(clock), {"me": Rate(3, 2)}
    for _ in range(50):
        try:
            rates.take(limits)
        except RateLimited as refused:
            clock.now += refused.retry_after_s
            rates.take(limits)


def test_of_two_limits_both_are_taken_or_none() -> None:
    clock = Clock()
    rates = Rates(clock)
    narrow, wide = Rate(0.1, 1), Rate(0.1, 3)
    rates.take({"user": narrow, "key": wide})
    for _ in range(5):
        with pytest.raises(RateLimited):
            rates.take({"user": narrow, "key": wide})
    rates.take({"key": wide})
    rates.take({"key": wide})
    with pytest.raises(RateLimited) as refused:
        rates.take({"user": narrow, "key": wide})
    assert refused.value.retry_after_s == pytest.approx(10)


def test_what_is_given_back_may_be_taken_again() -> None:
    rates, limits = Rates(Clock()), {"me": Rate(0.1, 1)}
    for _ in range(5):
        rates.take(limits)
        rates.give_back(limits)
    rates.take(limits)
    with pytest.raises(RateLimited):
        rates.take(limits)


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    rates = Rates(clock)
    for number in range(1000):
        rates.take({f"user {number}": Rate(1, 5)})
    assert len(rates) == 1000
    clock.now += 1.1
    for _ in range(400):
        rates.take({"me": Rate(1000, 1000)})
    assert len(rates) == 1


def test_made_up_names_do_not_fill_the_memory_and_the_key_holds() -> None:
    rates = Rates(Clock(), max_buckets=100)
    key = {"key": Rate(0.001, 500)}
    for number in range(500):
        rates.take({f"user {number}": Rate(0.001, 1)} | key)
        assert len(rates) <= 100
    with pytest.raises(RateLimited):
        rates.take({"user new": Rate(0.001, 1)} | key)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", Rate(10, 10)), ("30/m", Rate(0.5, 1)), ("7200/h", Rate(2, 2)), ("2.5", Rate(2.5, 2))],
)
def test_a_rate_is_written_as_one_says_it(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "x", "0/s", "-1/s", "nan/s", "inf/s", "1/d", "1/", "1e9/s"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="rate"):
        Rate.parse(text)
