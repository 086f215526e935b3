"""With heavy users, tests that count users are wrong as often as they say; the others are not."""

from __future__ import annotations

import math

import pytest

from ab.simulation import Plan, simulate

RUNS = 200


def error(share: float) -> float:
    """Three standard errors of a share of `RUNS`."""
    return 3 * math.sqrt(share * (1 - share) / RUNS)


def test_without_an_effect_users_are_right_and_impressions_wrong() -> None:
    found = simulate(Plan(users=100, days=3, runs=RUNS, seed=3))
    assert found.pooled_last > 0.6
    assert found.users_last == pytest.approx(0.05, abs=error(0.05))
    assert found.sums_last == pytest.approx(0.05, abs=error(0.05))
    assert found.always_valid_any <= 0.05 + error(0.05)
    assert found.covered >= 0.95 - error(0.05)


def test_an_effect_is_found_in_its_direction_and_sooner_with_days_before() -> None:
    better = simulate(Plan(users=200, days=7, effect=0.2, before=14, runs=12, seed=4))
    worse = simulate(Plan(users=200, days=7, effect=-0.2, before=14, runs=12, seed=5))
    without = simulate(Plan(users=200, days=7, effect=0.2, runs=12, seed=4))
    assert better.better > 0.9
    assert better.worse == 0
    assert worse.worse > 0.9
    assert worse.better == 0
    assert without.better < better.better - 0.2
