"""The planner promises what simulated experiments keep."""

from __future__ import annotations

import pytest

from ab.gates import load_gates
from ab.power import detectable
from ab.report import METRICS
from ab.simulation import Plan, simulate

EXPECTED = METRICS["acceptance"].expected


@pytest.mark.parametrize(("users", "before"), [(250, 0), (80, 5)])
def test_the_promised_effect_is_found_about_as_often_as_promised(users: int, before: int) -> None:
    promised = detectable(users, 20, 1, before, 0.28, 7.1, EXPECTED)
    plan = Plan(users=users, days=1, before=before, volume=20, spread=0, runs=120, seed=2,
                effect=promised / 0.28)  # fmt: skip
    assert 0.62 < simulate(plan, load_gates()).always_valid_last < 0.92


def test_more_of_anything_finds_smaller_effects() -> None:
    before = detectable(20, 60, 14, 7, 0.28, 7.1, EXPECTED)
    assert detectable(40, 60, 14, 7, 0.28, 7.1, EXPECTED) < before
    assert detectable(20, 120, 14, 7, 0.28, 7.1, EXPECTED) < before
    assert detectable(20, 60, 28, 7, 0.28, 7.1, EXPECTED) < before
    assert detectable(20, 60, 14, 28, 0.28, 7.1, EXPECTED) < before
    assert detectable(20, 60, 14, 0, 0.28, 7.1, EXPECTED) > 2 * before
