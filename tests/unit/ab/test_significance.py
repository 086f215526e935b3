"""Statistics against numbers that were computed elsewhere, and against simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from ab.acceptance import User, Weighting, compare
from ab.significance import (
    always_valid,
    always_valid_p,
    benjamini_hochberg,
    fixed,
    fixed_p,
    holm,
    mismatch_p,
)

CONTROL = [User(1, 4), User(5, 10), User(0, 3), User(30, 60), User(2, 9)]
CANDIDATE = [User(2, 4), User(5, 8), User(1, 2), User(40, 60)]


def test_the_mean_of_rates_is_welchs() -> None:
    found = compare(CONTROL, CANDIDATE)
    assert found is not None
    rates = [[u.part / u.whole for u in arm] for arm in (CONTROL, CANDIDATE)]
    means = [sum(r) / len(r) for r in rates]
    squares = [
        sum((x - m) ** 2 for x in r) / (len(r) - 1) / len(r)
        for r, m in zip(rates, means, strict=True)
    ]
    assert found.difference == pytest.approx(means[1] - means[0])
    assert found.variance == pytest.approx(sum(squares))
    assert found.users == (5, 4)


def test_the_ratio_of_sums_is_the_jackknifes() -> None:
    found = compare(CONTROL, CANDIDATE, Weighting.SUMS)
    assert found is not None
    variance = 0.0
    for arm in (CONTROL, CANDIDATE):
        ratio = sum(u.part for u in arm) / sum(u.whole for u in arm)
        for left_out in arm:
            rest = [u for u in arm if u is not left_out]
            moved = ratio - sum(u.part for u in rest) / sum(u.whole for u in rest)
            variance += moved**2 * (len(arm) - 1) / len(arm)
    assert found.variance == pytest.approx(variance)
    assert found.control == pytest.approx(38 / 86)


@pytest.mark.parametrize("weighting", list(Weighting))
def test_splitting_a_users_day_in_two_changes_nothing_but_two_users_do(
    weighting: Weighting,
) -> None:
    one = compare(CONTROL, CANDIDATE, weighting)
    doubled = compare(CONTROL * 2, CANDIDATE * 2, weighting)
    assert one is not None
    assert doubled is not None
    assert doubled.difference == pytest.approx(one.difference)
    assert doubled.variance < one.variance


@pytest.mark.parametrize("weighting", list(Weighting))
def test_days_before_take_noise_away_and_leave_the_effect(weighting: Weighting) -> None:
    chance = random.Random(5)
    arms = []
    for effect in (0.0, 0.05):
        rates = [chance.uniform(0.1, 0.6) for _ in range(300)]
        arms.append([User(200 * (r + effect), 200, 150 * r, 150) for r in rates])
    raw = compare(arms[0], arms[1], weighting, cuped=False)
    found = compare(arms[0], arms[1], weighting)
    assert raw is not None
    assert found is not None
    assert found.difference == pytest.approx(0.05, abs=1e-9)
    assert found.variance < raw.variance / 100
    assert found.explained > 0.99


def test_new_users_without_days_before_are_kept() -> None:
    new = [User(1, 4), User(3, 4)]
    old = [User(1, 4, 2, 8), User(2, 4, 3, 8), User(3, 4, 7, 8)]
    found = compare([*old, *new], [*new, *old])
    assert found is not None
    assert found.users == (5, 5)


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        ([], CANDIDATE),
        (CONTROL[:1], CANDIDATE),
        ([User(0, 0)] * 9, CANDIDATE),
        ([User(1, 2), User(1, 2)], [User(1, 2), User(1, 2)]),
    ],
)
def test_too_little_to_compare_is_no_number(control: list[User], candidate: list[User]) -> None:
    assert compare(control, candidate) is None


def test_fixed_intervals_are_the_normals() -> None:
    low, high = fixed(1.0, 4.0, 0.05)
    assert (low, high) == pytest.approx((1 - 1.959964 * 2, 1 + 1.959964 * 2), abs=1e-5)
    assert fixed_p(1.959964 * 2, 4.0) == pytest.approx(0.05, abs=1e-6)


def test_the_always_valid_interval_is_the_published_confidence_sequence() -> None:
    # Waudby-Smith et al.: se sqrt(N) sqrt(2 (N r2 + 1) / (N^2 r2) log(sqrt(N r2 + 1) / alpha)),
    # where r2, the mixture's variance in units of one observation's, is expected^2 / sigma^2.
    sigma, count, alpha, expected = 0.7, 800, 0.05, 0.03
    r2 = expected**2 / sigma**2
    inside = 2 * (count * r2 + 1) / (count**2 * r2) * math.log(math.sqrt(count * r2 + 1) / alpha)
    low, high = always_valid(0.0, sigma**2 / count, expected, alpha)
    assert high == pytest.approx(sigma * math.sqrt(inside))
    assert low == -high


@given(st.floats(-1, 1), st.floats(1e-6, 1), st.floats(1e-3, 1), st.sampled_from([0.01, 0.05, 0.2]))
def test_interval_and_p_value_say_the_same(
    difference: float, variance: float, expected: float, alpha: float
) -> None:
    p_value = always_valid_p(difference, variance, expected)
    low, high = always_valid(difference, variance, expected, alpha)
    if abs(p_value - alpha) > 1e-9:
        assert (p_value < alpha) == (low > 0 or high < 0)
    assert p_value >= fixed_p(difference, variance) * 0.99


def test_a_random_walk_looked_at_a_thousand_times_is_rarely_thought_a_trend() -> None:
    chance = random.Random(11)
    wrong = fooled = 0
    for _ in range(400):
        total = 0.0
        seen = seen_fixed = False
        for count in range(1, 1001):
            total += chance.gauss(0, 1)
            seen |= always_valid_p(total / count, 1 / count, 0.1) < 0.05
            seen_fixed |= count >= 10 and fixed_p(total / count, 1 / count) < 0.05
        wrong += seen
        fooled += seen_fixed
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert fooled / 400 > 0.3, "the fixed test must not stand such looking"


def test_a_split_as_planned_is_no_mismatch_and_another_one_is() -> None:
    assert mismatch_p([5_020, 4_980], [1, 1]) > 0.5
    assert mismatch_p([105, 895], [10, 90]) > 0.5
    assert mismatch_p([5_400, 4_600], [1, 1]) < 1e-6
    assert mismatch_p([0, 0], [1, 1]) == 1.0


def test_a_fair_split_looked_at_after_every_user_is_rarely_thought_unfair() -> None:
    chance = random.Random(3)
    wrong = 0
    for _ in range(300):
        counts = [0, 0]
        seen = False
        for _ in range(500):
            counts[chance.random() < 0.5] += 1
            seen |= mismatch_p(counts, [1, 1]) < 0.05
        wrong += seen
    assert wrong / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_holm_is_holm() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({}) == {}


def test_benjamini_and_hochberg_agree_with_statsmodels() -> None:
    chance = random.Random(4)
    p_values = {f"q{n}": chance.random() ** 3 for n in range(40)}
    for ours, name in ((benjamini_hochberg, "fdr_bh"), (holm, "holm")):
        theirs = multipletests(list(p_values.values()), method=name)[1]
        assert list(ours(p_values)[q] for q in p_values) == pytest.approx(list(theirs))
    assert benjamini_hochberg({}) == {}
