"""A candidate climbs rung by rung, nobody loses it on the way, and the flag says where it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ab.assignment import assign
from ab.errors import InvalidFlag
from ab.flags import Arm, Flag, Rollout
from ab.gates import Ladder, load_gates
from ab.ladder import INTERNAL, NOBODY, Rung, Standing, at_rung, percent, standing
from ab.store import Version
from tabwright.errors import ConfigError

LADDER = load_gates().ladder.model_copy(update={"internal": ("ada", "bob")})
FLAG = Flag("model", {"old": "m1", "new": "m2"}, "old")


def climbed(flag: Flag, ladder: Ladder = LADDER) -> list[Flag]:
    """The flag at each rung, from nobody to everybody."""
    flags = [flag]
    while (above := stand(flags, ladder).above) is not None:
        flags.append(at_rung(flags[-1], "new", "old", above, ladder))
    return flags


def stand(flags: list[Flag], ladder: Ladder = LADDER) -> Standing:
    versions = [Version(flag, n + 1, 100.0 * n, "ada", "") for n, flag in enumerate(flags)]
    return standing(versions, "new", ladder)


def test_the_rungs_are_climbed_in_order_and_read_back_from_the_flag() -> None:
    flags = climbed(FLAG)
    names = [stand(flags[: n + 1]).rung.name for n in range(len(flags))]
    assert names == ["nobody", "internal", "1 %", "5 %", "10 %", "25 %", "50 %", "100 %"]
    assert [percent(flag, "new") for flag in flags] == [0, 0, 1, 5, 10, 25, 50, 100]


@given(st.text(min_size=1, max_size=12).filter(str.isprintable), st.booleans())
def test_who_has_the_candidate_keeps_it_at_every_higher_rung(user: str, split: bool) -> None:
    arms = (Arm("old", 1), Arm("new", 1))
    start = replace(FLAG, rollout=Rollout(0, arms, "salt")) if split else FLAG
    had = False
    for flag in climbed(start):
        has = assign(flag, {"targetingKey": user}).variant == "new"
        assert has or not had
        had = has
    assert had


def test_a_rung_begins_when_chances_change_and_not_when_somebody_asks_for_a_variant() -> None:
    flags = climbed(FLAG)[:4]
    asked = replace(flags[-1], overrides={**flags[-1].overrides, "eve": "old"}, description="x")
    stands = stand([*flags, asked])
    assert (stands.began, stands.first) == (300.0, 100.0)


def test_what_is_taken_back_is_taken_from_everybody_and_known_to_have_been() -> None:
    for flags in (climbed(FLAG)[:5], climbed(FLAG)):
        back = at_rung(flags[-1], "new", "old", NOBODY, LADDER)
        stands = stand([*flags, back])
        assert (stands.rung, stands.rolled_back) == (NOBODY, True)
        assert stands.control == "old"
        for user in ("ada", "bob", "eve", *map(str, range(50))):
            assert assign(back, {"targetingKey": user}).variant == "old"


def test_a_share_between_rungs_goes_on_with_the_next_one() -> None:
    rollout = Rollout(7_000, (Arm("new", 1),), "salt")
    stands = stand([replace(FLAG, rollout=rollout)])
    assert (stands.rung.name, stands.above) == ("7 %", Rung("10 %", 10.0))


def test_overrides_alone_are_the_internal_rung() -> None:
    assert stand([replace(FLAG, overrides={"eve": "new"})]).rung == INTERNAL


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="targeted"):
        stand([replace(FLAG, targeting={"var": "cohort"})])
    with pytest.raises(ConfigError, match="always been the default"):
        stand([replace(FLAG, default_variant="new")])
    with pytest.raises(InvalidFlag, match="candidate"):
        stand([Flag("model", {"old": "m1"}, "old")])
    thin = replace(FLAG, rollout=Rollout(0, (Arm("old", 3), Arm("new", 1)), "salt"))
    with pytest.raises(ConfigError, match="25 % of users"):
        at_rung(thin, "new", "old", Rung("50 %", 50.0), LADDER)
