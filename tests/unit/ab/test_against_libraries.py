"""Planned looks agree with tea-tasting, scipy and statsmodels, which are written by others."""

from __future__ import annotations

import math
import random

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from ab.acceptance import User, Weighting, compare
from ab.significance import fixed, fixed_p, mismatch_p

USERS = 400


def arms(lift: float) -> list[list[User]]:
    """Two arms of users with rates and volumes of their own, and days before."""
    chance = np.random.default_rng(17)
    found = []
    for effect in (0.0, lift):
        rates = chance.beta(2, 5, USERS)
        volumes = np.exp(chance.normal(4, 0.6, USERS))
        before, now = chance.poisson(volumes) + 1, chance.poisson(volumes) + 1
        parts = (
            chance.binomial(before, rates),
            chance.binomial(now, np.minimum(1, rates * (1 + effect))),
        )
        columns = (parts[1], now, parts[0], before)
        found.append([User(*map(float, row)) for row in zip(*columns, strict=True)])
    return found


def table(given: list[list[User]]) -> pd.DataFrame:
    rows = [
        {"variant": n, "part": u.part, "whole": u.whole, "rate": u.part / u.whole,
         "rate_before": u.part_before / u.whole_before, "part_before": u.part_before,
         "whole_before": u.whole_before}
        for n, arm in enumerate(given) for u in arm
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("lift", [0.0, 0.15])
@pytest.mark.parametrize("cuped", [False, True])
@pytest.mark.parametrize("weighting", list(Weighting))
def test_differences_are_those_of_tea_tasting(
    lift: float, cuped: bool, weighting: Weighting
) -> None:
    given = arms(lift)
    options = {"use_t": False, "equal_var": False}
    metric = (
        tt.Mean("rate", "rate_before" if cuped else None, **options)
        if weighting is Weighting.USERS
        else tt.RatioOfMeans(
            "part",
            "whole",
            *(("part_before", "whole_before") if cuped else (None, None)),
            **options,
        )
    )
    theirs = tt.Experiment(it=metric).analyze(table(given))["it"]
    ours = compare(given[0], given[1], weighting, cuped)
    assert ours is not None
    low, high = fixed(ours.difference, ours.variance, 0.05)
    # Errors of a ratio are the jackknife's here and the delta method's there; slopes of CUPED
    # differ by how the two arms are pooled.
    near = math.sqrt(ours.variance) * 0.05
    effect = theirs.treatment - theirs.control
    assert ours.difference == pytest.approx(effect, abs=near)
    assert low == pytest.approx(theirs.effect_size_ci_lower, abs=2 * near)
    assert high == pytest.approx(theirs.effect_size_ci_upper, abs=2 * near)
    assert fixed_p(ours.difference, ours.variance) == pytest.approx(theirs.pvalue, rel=0.15)


def test_the_mean_of_rates_is_that_of_scipy_and_statsmodels() -> None:
    given = arms(0.05)
    rates = [[u.part / u.whole for u in arm] for arm in given]
    ours = compare(given[0], given[1], cuped=False)
    assert ours is not None
    welch = stats.ttest_ind(rates[1], rates[0], equal_var=False)
    assert welch.statistic == pytest.approx(ours.difference / math.sqrt(ours.variance))
    means = CompareMeans(DescrStatsW(rates[1]), DescrStatsW(rates[0]))
    low, high = means.zconfint_diff(usevar="unequal")
    assert fixed(ours.difference, ours.variance, 0.05) == pytest.approx((low, high))
    _, p_value = means.ztest_ind(usevar="unequal")
    assert fixed_p(ours.difference, ours.variance) == pytest.approx(p_value)


def test_a_split_is_doubted_by_the_sequential_test_only_where_the_planned_one_doubts_it() -> None:
    """Being right at every look costs: it takes more to doubt than a single look would."""
    chance = random.Random(2)
    doubted = 0
    for _ in range(300):
        count, share = chance.randint(40, 4000), chance.choice([0.5, 0.52, 0.6])
        one = sum(chance.random() < share for _ in range(count))
        planned = stats.chisquare([one, count - one]).pvalue
        ours = mismatch_p([one, count - one], [1, 1])
        assert ours >= planned
        assert ours < 0.001 or planned > 1e-5 / 10
        doubted += ours < 0.001
    assert doubted > 80
