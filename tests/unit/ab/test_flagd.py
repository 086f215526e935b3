"""flagd's documents are read for what they say, and refused for what we cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ab import flagd
from ab.assignment import assign
from ab.errors import InvalidFlag
from ab.flags import Arm, Flag, Rollout


def document(**parts: Any) -> str:
    one = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    return json.dumps({"flags": {"one": one | parts}, "$evaluators": EVALUATORS})


EVALUATORS = {
    "is_ada": {"===": [{"var": "targetingKey"}, "ada"]},
    "again": {"or": [{"$ref": "again"}, False]},
    **{f"laugh{n}": {"or": [{"$ref": f"laugh{n + 1}"}] * 9} for n in range(9)},
    "laugh9": False,
}


def test_shared_rules_are_put_where_they_are_named() -> None:
    [one] = flagd.read(document(targeting={"if": [{"$ref": "is_ada"}, "on", "off"]}))
    assert assign(one, {"targetingKey": "ada"}).value is True
    assert assign(one, {"targetingKey": "bob"}).value is False


def test_a_rule_may_give_a_truth_value_for_a_variant_of_that_name() -> None:
    parts = {"variants": {"true": 1, "false": 0}, "defaultVariant": "false"}
    [one] = flagd.read(document(targeting={"$ref": "is_ada"}, **parts))
    assert assign(one, {"targetingKey": "ada"}).value == 1


def test_what_was_changed_by_hand_beside_our_definition_counts() -> None:
    rollout = Rollout(50_000, (Arm("on", 1),), "one")
    written = json.loads(
        flagd.export([Flag("one", {"on": True, "off": False}, "off", rollout=rollout)])
    )
    written["flags"]["one"]["targeting"] = "on"
    [one] = flagd.read(json.dumps(written))
    assert one.rollout is None
    assert assign(one, {}).variant == "on"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[]", "object"),
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"flags": {"one": {"variants": {"a": NaN}}}}', "NaN"),
        ('{"flags": []}', "flags"),
        (document(state="MAYBE"), "ENABLED"),
        (document(defaultVariant="none"), "default_variant"),
        (document(variants={"on": 1, "off": "x"}), "one type"),
        (document(targeting={"$ref": "nobody"}), "nobody"),
        (document(targeting={"$ref": "again"}), "circle"),
        (document(targeting={"$ref": "laugh0"}), "smaller"),
        (document(targeting={"map": [[], 1]}), "known operators"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, word: str) -> None:
    with pytest.raises(InvalidFlag, match=word):
        flagd.read(text)
