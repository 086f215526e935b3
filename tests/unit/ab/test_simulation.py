"""With heavy users, tests that count users are wrong as often as they say; the others are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ab.acceptance import User, Weighting, compare
from ab.gates import load_gates
from ab.many import Arm, compare_many
from ab.simulation import Outcome, Plan
from ab.simulation import simulate as simulate_with

RUNS = 200
GATES = load_gates()


def simulate(plan: Plan) -> Outcome:
    return simulate_with(plan, GATES)


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


def test_gates_promote_what_is_better_roll_back_what_is_worse_and_hold_the_rest() -> None:
    better = simulate(Plan(effect=0.15, before=14, runs=20, seed=6))
    worse = simulate(Plan(effect=-0.15, before=14, runs=20, seed=7))
    equal = simulate(Plan(before=14, runs=100, seed=8))
    assert (better.promoted, better.rolled_back) == (1.0, 0.0)
    assert (worse.promoted, worse.rolled_back) == (0.0, 1.0)
    assert equal.held > 0.9
    assert better.days_to_promote == GATES.ladder.proof_days
    assert better.promoted + better.held + better.rolled_back == 1.0


@pytest.mark.parametrize("weighting", list(Weighting))
@pytest.mark.parametrize("cuped", [True, False])
def test_many_experiments_at_once_say_what_each_says_alone(
    weighting: Weighting, cuped: bool
) -> None:
    chance = np.random.default_rng(9)
    arms = []
    for _ in range(2):
        whole = chance.poisson(2.0, (5, 12))
        before = chance.poisson(2.0, (5, 12))
        parts = chance.binomial(whole, 0.4), chance.binomial(before, 0.4)
        arms.append(Arm(*(a.astype(float) for a in (parts[0], whole, parts[1], before))))
    many = compare_many(arms[0], arms[1], weighting, cuped)
    for run in range(5):
        users = [[User(*row) for row in zip(*(a[run] for a in arm), strict=True)] for arm in arms]
        alone = compare(users[0], users[1], weighting, cuped)
        assert alone is not None
        assert many.difference[run] == pytest.approx(alone.difference)
        assert many.variance[run] == pytest.approx(alone.variance)
        assert many.control[run] == pytest.approx(alone.control)
