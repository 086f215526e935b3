"""A team's own users, split by lot, are not thought to differ; a wrong statistic is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ab.acceptance import Weighting
from ab.flags import Flag
from ab.rollup import Cell, Counts
from ab.selftest import Trial, self_test
from tests.unit.ab.ladder_cells import NOW, Team, day_of

FLAG = Flag("model", {"old": "m1", "new": "m2"}, "old")
SINCE = day_of(NOW)
TRIAL = Trial(SINCE, SINCE + timedelta(days=6), splits=60)


def cells(users: int) -> list[tuple[Cell, Counts]]:
    return Team(users=users).cells(FLAG, SINCE, 7)


def test_lots_are_rarely_found_to_differ_but_by_a_test_that_is_looked_at_too_often() -> None:
    given = cells(80)
    for weighting in Weighting:
        found = self_test(given, replace(TRIAL, weighting=weighting))
        assert (found.users, found.looks) == (80, 7)
        assert found.always_valid <= 0.1
        assert found.planned > found.always_valid


def test_only_the_days_and_users_that_were_asked_for_are_split() -> None:
    given = cells(12)
    given += [(cell._replace(user="other", variant="m9"), counts) for cell, counts in given[:20]]
    given += [(Cell(str(SINCE), "", "old", "go", "native"), Counts(shown=9, accepted=9))]
    assert self_test(given, replace(TRIAL, splits=1)).users == 13
    assert self_test(given, replace(TRIAL, splits=1, variant="old")).users == 12
    late = replace(
        TRIAL, splits=1, since=SINCE + timedelta(days=30), until=SINCE + timedelta(days=31)
    )
    assert self_test(given, late).users == 0
