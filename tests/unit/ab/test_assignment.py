"""Who gets which variant: it sticks, it is monotone, and flagd would say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ab import flagd, logic
from ab.assignment import Reason, assign
from ab.errors import InvalidFlag
from ab.flags import WHOLE, Arm, Flag, Rollout, Slot, check_layers

VARIANTS = {"old": "model-1", "new": "model-2", "newer": "model-3"}
USERS = [f"user-{number}" for number in range(2_000)]


def rollout(percent: float, *arms: Arm) -> Rollout:
    return Rollout(round(percent * 1000), arms or (Arm("new", 1), Arm("newer", 1)), "model")


def flag(**parts: Any) -> Flag:
    return Flag(**{"key": "model", "variants": VARIANTS, "default_variant": "old"} | parts)


def chosen(one: Flag, user: str, **context: Any) -> str:
    return assign(one, {"targetingKey": user, **context}).variant


SHARES = st.integers(0, WHOLE)
ARMS = st.lists(st.sampled_from(list(VARIANTS)), min_size=1, unique=True).flatmap(
    lambda names: st.tuples(*(st.builds(Arm, st.just(name), st.integers(1, 9)) for name in names))
)


@given(st.text(min_size=1), SHARES, SHARES, ARMS)
def test_raising_the_share_moves_nobody_who_is_in(
    user: str, one: int, other: int, arms: tuple[Arm, ...]
) -> None:
    low, high = sorted((one, other))
    before = assign(flag(rollout=Rollout(low, arms, "s")), {"targetingKey": user})
    after = assign(flag(rollout=Rollout(high, arms, "s")), {"targetingKey": user})
    if before.reason is Reason.SPLIT:
        assert after == before


def test_raising_the_share_to_all_passes_every_user_once() -> None:
    seen: dict[str, str] = {}
    for percent in (0, 1, 5, 10, 25, 50, 100):
        one = flag(rollout=rollout(percent))
        inside = {u: chosen(one, u) for u in USERS if chosen(one, u) != "old"}
        assert seen.items() <= inside.items()
        assert len(inside) == pytest.approx(len(USERS) * percent / 100, abs=60)
        seen = inside
    assert set(seen) == set(USERS)


def test_the_kill_switch_wins_over_everything() -> None:
    one = flag(enabled=False, overrides={"ada": "new"}, targeting="newer", rollout=rollout(100))
    given = assign(one, {"targetingKey": "ada"})
    assert (given.variant, given.value, given.reason) == ("old", "model-1", Reason.DISABLED)


def test_an_override_wins_over_slot_targeting_and_rollout() -> None:
    one = flag(
        overrides={"ada": "newer"}, slot=Slot("l", 0, 1), targeting="old", rollout=rollout(100)
    )
    assert chosen(one, "ada") == "newer"


def test_targeting_decides_before_the_rollout_and_null_lets_it() -> None:
    python_only = {"if": [{"!=": [{"var": "language"}, "python"]}, "old", None]}
    one = flag(targeting=python_only, rollout=rollout(100, Arm("new", 1)))
    assert chosen(one, "ada", language="go") == "old"
    assert chosen(one, "ada", language="python") == "new"


def test_a_variant_that_targeting_makes_up_is_an_error_and_the_default() -> None:
    assert assign(flag(targeting="newest"), {}).reason is Reason.ERROR


def test_without_a_user_nothing_is_split() -> None:
    one = flag(rollout=rollout(100))
    assert [assign(one, c).variant for c in ({}, {"targetingKey": ""}, {"targetingKey": 3})] == [
        "old"
    ] * 3


def test_a_flag_that_decides_nothing_is_static() -> None:
    assert assign(flag(), {}).reason is Reason.STATIC


def test_slots_of_a_layer_share_no_user_and_leave_none_out() -> None:
    one = flag(key="a", slot=Slot("l", 0, 40_000), rollout=rollout(100, Arm("new", 1)))
    other = flag(key="b", slot=Slot("l", 40_000, WHOLE), rollout=rollout(100, Arm("new", 1)))
    check_layers([one, other])
    inside = [(chosen(one, user), chosen(other, user)) for user in USERS]
    assert set(inside) == {("new", "old"), ("old", "new")}


def test_overlapping_slots_are_refused() -> None:
    with pytest.raises(InvalidFlag, match="a and b overlap"):
        check_layers([flag(key="a", slot=Slot("l", 0, 9)), flag(key="b", slot=Slot("l", 8, 20))])


def test_arms_are_independent_of_the_share() -> None:
    one = flag(rollout=rollout(20))
    inside = [v for v in (chosen(one, user) for user in USERS) if v != "old"]
    assert inside.count("new") == pytest.approx(len(inside) / 2, abs=50)


@pytest.mark.parametrize(
    "parts",
    [
        {"key": "a/b"},
        {"variants": {}},
        {"variants": {"old": 1, "new": "x"}},
        {"variants": {"old": True, "new": 1}},
        {"default_variant": "none"},
        {"overrides": {"ada": "none"}},
        {"overrides": {"a\nb": "new"}},
        {"targeting": {"frobnicate": []}},
        {"rollout": Rollout(1, (Arm("none", 1),), "s")},
    ],
)
def test_a_malformed_flag_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidFlag):
        flag(**parts)


@pytest.mark.parametrize(
    ("share", "arms"),
    [
        (-1, (Arm("a", 1),)),
        (WHOLE + 1, (Arm("a", 1),)),
        (1, ()),
        (1, (Arm("a", 0),)),
        (1, (Arm("a", -1), Arm("b", 3))),
        (1, (Arm("a", 2**31 - 1), Arm("b", 1))),
        (1, (Arm("a", 1), Arm("a", 1))),
    ],
)
def test_a_malformed_rollout_is_refused(share: int, arms: tuple[Arm, ...]) -> None:
    with pytest.raises(InvalidFlag):
        Rollout(share, arms, "s")


RULES = st.sampled_from(
    [
        None,
        {"if": [{"==": [{"var": "language"}, "go"]}, "old", None]},
        {"if": [{"in": [{"var": "editor"}, ["vim", "zed"]]}, "newer"]},
        {"fractional": [["old", 1], ["new", 3]]},
    ]
)
FLAGS = st.builds(
    flag,
    overrides=st.sampled_from([{}, {"ada": "new"}, {"ada": "new", "bob": "old"}]),
    slot=st.none() | st.builds(Slot, st.just("l"), st.integers(0, 50_000), st.just(60_000)),
    targeting=RULES,
    rollout=st.none() | st.builds(Rollout, SHARES, ARMS, st.just("s")),
)


@given(FLAGS, st.sampled_from(["", "ada", "bob", *USERS[:40]]), st.sampled_from(["go", "python"]))
def test_the_exported_rule_gives_what_we_give(one: Flag, user: str, language: str) -> None:
    context = {"targetingKey": user, "language": language, "editor": "vim"}
    facts = {**context, "$flagd": {"flagKey": one.key}}
    told = logic.evaluate(flagd.targeting_of(one), facts)
    assert (told or "old") == assign(one, context).variant


@given(FLAGS, st.booleans())
def test_a_flag_survives_export_and_import(one: Flag, enabled: bool) -> None:
    again = flag(**{name: getattr(one, name) for name in ("overrides", "slot", "targeting")},
                 rollout=one.rollout, enabled=enabled)  # fmt: skip
    assert flagd.read(flagd.export([again])) == [again]
