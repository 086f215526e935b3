"""Targeting rules mean what flagd says they mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ab import logic
from ab.errors import InvalidFlag

SUITS: list[Any] = [["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]]


def run(rule: Any, **context: Any) -> Any:
    logic.check(rule)
    return logic.evaluate(rule, context)


# From flagd's conformance suite (the integer arithmetic of 2026).
@pytest.mark.parametrize(
    ("name", "suit"),
    [("jack", "hearts"), ("queen", "spades"), ("ten", "clubs"), ("nine", "diamonds"), (3, "clubs")],
)
def test_a_split_by_an_expression_is_flagds(name: object, suit: str) -> None:
    seed = {"cat": [{"var": "$flagd.flagKey"}, {"var": "user.name"}]}
    context = {"user": {"name": name}, "$flagd": {"flagKey": "fractional-flag"}}
    assert run({"fractional": [seed, *SUITS]}, **context) == suit


@pytest.mark.parametrize(
    ("name", "suit"),
    [("seven", "hearts"), ("eight", "diamonds"), ("nine", "clubs"), ("two", "spades")],
)
def test_a_split_by_a_shared_seed_is_flagds(name: str, suit: str) -> None:
    seed = {"cat": ["shared-seed", {"var": "user.name"}]}
    assert run({"fractional": [seed, *SUITS]}, user={"name": name}) == suit


@pytest.mark.parametrize(
    ("user", "side"), [("jon@company.com", "heads"), ("jane@company.com", "tails")]
)
def test_a_split_without_expression_is_by_flag_and_user(user: str, side: str) -> None:
    facts = {"targetingKey": user, "$flagd": {"flagKey": "fractional-flag-shorthand"}}
    assert run({"fractional": [["heads"], ["tails", 1]]}, **facts) == side


@pytest.mark.parametrize(
    ("user", "tier", "wanted"),
    [
        ("jon@company.com", "premium", "premium"),
        ("jon@company.com", "basic", "standard"),
        ("user1", "premium", "standard"),
    ],
)
def test_variants_of_a_split_may_be_rules(user: str, tier: str, wanted: str) -> None:
    first = [{"if": [{"==": [{"var": "tier"}, "premium"]}, "premium", "standard"]}, 50]
    rule = {"fractional": [{"var": "targetingKey"}, first, ["standard", 50]]}
    assert run(rule, targetingKey=user, tier=tier) == wanted


@pytest.mark.parametrize(("tier", "wanted"), [("premium", "red"), ("basic", "blue")])
def test_weights_of_a_split_may_be_rules(tier: str, wanted: str) -> None:
    weight = {"if": [{"==": [{"var": "tier"}, "premium"]}, 100, 0]}
    rule = {"fractional": [{"var": "targetingKey"}, ["red", weight], ["blue", 10]]}
    assert run(rule, targetingKey="user1", tier=tier) == wanted


@pytest.mark.parametrize(
    "rows",
    [
        [["a", -1], ["b", 2]],
        [["a", 0.5], ["b", 1]],
        [["a", 2**31], ["b", 1]],
        [["a", 2**30], ["b", 2**30]],
        [["a", "1"], ["b", 1]],
        [["a", True], ["b", 1]],
        [["a", 0], ["b", 0]],
        [[], ["b", 1]],
        ["a", "b"],
        [["a", 1e999], ["b", 1]],
    ],
)
def test_a_malformed_split_gives_nothing(rows: list[Any]) -> None:
    assert run({"fractional": rows}, targetingKey="ada") is None


def test_a_split_without_a_user_gives_nothing() -> None:
    assert run({"fractional": [{"var": "missing_key"}, ["one", 50], ["two", 50]]}) is None


@pytest.mark.parametrize(
    ("version", "operator", "other", "wanted"),
    [
        ("2.0.0", "=", "2.0.0", True),
        ("2.1.0", ">", "2.0.0", True),
        ("1.9.0", "<", "2.0.0", True),
        ("2.0.0-alpha", "<", "2.0.0", True),
        ("1.0.0-alpha.1", "<", "1.0.0-alpha.beta", True),
        ("2.0.0.0", "=", "2.0.0", None),
        ("3.0.1", "~", "3.0.0", True),
        ("3.1.0", "~", "3.0.0", False),
        ("3.1.0", "^", "3.0.0", True),
        ("4.0.0", "^", "3.0.0", False),
        ("v1.0.0", "=", "v1.0.0", True),
        ("1.5.0", "^", "1", True),
        ("1.0.0+other", "=", "1.0.0+build", True),
        ("not-a-version", "=", "1.0.0", None),
        ("1.0.0", "===", "1.0.0", None),
    ],
)
def test_versions_compare_as_flagds_do(
    version: str, operator: str, other: str, wanted: bool | None
) -> None:
    assert run({"sem_ver": [{"var": "version"}, operator, other]}, version=version) is wanted


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"if": [False, 1, True, 2, 3]}, 2),
        ({"if": [False, 1]}, None),
        ({"and": [1, "", 3]}, ""),
        ({"or": [0, "x", 3]}, "x"),
        ({"==": ["1", 1]}, True),
        ({"===": ["1", 1]}, False),
        ({"===": [True, 1]}, False),
        ({"!=": [None, 0]}, True),
        ({"!": [[]]}, True),
        ({"!!": "0"}, True),
        ({"in": ["py", "python"]}, True),
        ({"in": ["py", ["go", "py"]]}, True),
        ({"in": [1, None]}, False),
        ({"<": [1, 2, 3]}, True),
        ({"<": [1, "x"]}, False),
        ({">=": ["b", "a"]}, True),
        ({"cat": ["a", 1, True, None]}, "a1true"),
        ({"var": ["nothing.there", "default"]}, "default"),
        ({"starts_with": [{"var": "id"}, "abc"]}, True),
        ({"ends_with": [{"var": "id"}, "xyz"]}, False),
        ({"ends_with": [1, "xyz"]}, None),
    ],
)
def test_operators(rule: Any, wanted: object) -> None:
    assert run(rule, id="abcd") == wanted


def nested(levels: int) -> Any:
    rule: Any = True
    for _ in range(levels):
        rule = {"!": [rule]}
    return rule


@pytest.mark.parametrize("rule", [{"frobnicate": []}, {"==": [1, 1], "!": [1]}, {}, nested(40)])
def test_what_is_not_known_is_refused(rule: Any) -> None:
    with pytest.raises(InvalidFlag):
        logic.check(rule)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
RULES = st.recursive(
    LEAVES,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.builds(
            lambda name, given: {name: given},
            st.sampled_from([*logic._OPERATORS, *logic._LAZY]),
            st.lists(parts, max_size=4) | parts,
        )
    ),
    max_leaves=12,
)


@given(RULES, st.dictionaries(st.text(max_size=4), LEAVES, max_size=3))
def test_no_checked_rule_ever_raises(rule: Any, context: dict[str, Any]) -> None:
    logic.check(rule)
    logic.evaluate(rule, {"targetingKey": "ada", **context})
