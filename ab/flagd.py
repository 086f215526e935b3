"""Flags in the JSON that flagd reads, both ways.

What flagd has no words for, overrides, slots and rollouts, is written as targeting in its own
operators, so flagd gives every user the variant that `ab.assignment` gives. Our own definition goes
along in the metadata; reading takes it if it still means the targeting beside it, else the
targeting: what was changed by hand there counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ab import definition
from ab.errors import InvalidFlag
from ab.flags import WHOLE, Flag, Rollout, Slot

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
_OURS = "tabwright"
_USER = {"var": "targetingKey"}
_PARTS, _DEPTH = 10_000, 64
_STATES = {"ENABLED": True, "DISABLED": False}


def export(flags: Iterable[Flag]) -> str:
    """Write flags as one flagd document."""
    return json.dumps({"$schema": SCHEMA, "flags": {f.key: _written(f) for f in flags}}, indent=2)


def read(text: str | bytes) -> list[Flag]:
    """Read the flags of a flagd document.

    Raises:
        InvalidFlag: it is malformed, or asks for what `ab.logic` does not have.
    """
    document = definition.read_object(text)
    shared = definition.of_type(document, "$evaluators", dict, {})
    flags = definition.of_type(document, "flags", dict)
    return [_read(key, definition.of_type(flags, key, dict), shared) for key in flags]


def targeting_of(flag: Flag) -> Any:
    """Everything that decides about a user, as one rule of flagd; None: there is nothing."""
    rule = flag.targeting
    if flag.rollout is not None:
        split = _split(flag.rollout)
        rule = split if rule is None else {"if": [{"!==": [rule, None]}, rule, split]}
    branches: list[Any] = []
    for user, variant in flag.overrides.items():
        branches += [{"===": [_USER, user]}, variant]
    if flag.slot is not None:
        branches += [{"!": [_inside(flag.slot)]}, flag.default_variant]
    return {"if": [*branches, rule]} if branches else rule


def _written(flag: Flag) -> dict[str, Any]:
    written: dict[str, Any] = {
        "state": "ENABLED" if flag.enabled else "DISABLED",
        "variants": dict(flag.variants),
        "defaultVariant": flag.default_variant,
        "metadata": {_OURS: definition.to_json(flag)},
    }
    if (rule := targeting_of(flag)) is not None:
        written["targeting"] = rule
    return written


def _read(key: str, given: Mapping[str, Any], shared: Mapping[str, Any]) -> Flag:
    state = definition.of_type(given, "state", str, "ENABLED")
    if state not in _STATES:
        raise InvalidFlag(f"{key}.state", state, f"give one of {', '.join(_STATES)}")
    metadata = definition.of_type(given, "metadata", dict, {})
    variants = definition.of_type(given, "variants", dict)
    default = definition.of_type(given, "defaultVariant", str)
    rule = _References(shared).resolved(given.get("targeting") or None)
    if isinstance(ours := metadata.get(_OURS), str):
        told = definition.from_json(key, ours)
        meant = (told.variants, told.default_variant, told.enabled, targeting_of(told))
        if meant == (variants, default, _STATES[state], rule):
            return told
    return Flag(key, variants, default, enabled=_STATES[state], targeting=rule)


class _References:
    """Puts rules that are shared under a name where they are referred to."""

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self._shared = shared
        self._left = _PARTS

    def resolved(self, rule: Any, depth: int = 0) -> Any:
        """The rule without references; each may grow it, so its size is bounded too."""
        self._left -= 1
        if depth > _DEPTH or self._left < 0:
            raise InvalidFlag("targeting", "...", "make it smaller, with no $ref in a circle")
        if isinstance(rule, Mapping):
            if set(rule) == {"$ref"}:
                return self.resolved(self._named(rule["$ref"]), depth + 1)
            return {name: self.resolved(part, depth + 1) for name, part in rule.items()}
        if isinstance(rule, list):
            return [self.resolved(part, depth + 1) for part in rule]
        return rule

    def _named(self, name: Any) -> Any:
        if not isinstance(name, str) or name not in self._shared:
            known = ", ".join(self._shared) or "none"
            raise InvalidFlag("$ref", name, f"name one of $evaluators: {known}")
        return self._shared[name]


def _split(rollout: Rollout) -> dict[str, Any]:
    reached = [[True, rollout.share], [False, WHOLE - rollout.share]]
    arms = [[arm.variant, arm.weight] for arm in rollout.arms]
    return {
        "if": [
            _named_and({"fractional": [{"cat": [f"{rollout.salt}:share:", _USER]}, *reached]}),
            {"fractional": [{"cat": [f"{rollout.salt}:arm:", _USER]}, *arms]},
            None,
        ]
    }


def _inside(slot: Slot) -> dict[str, Any]:
    borders = (slot.begin, slot.end - slot.begin, WHOLE - slot.end)
    parts = [[found, size] for found, size in zip((False, True, False), borders, strict=True)]
    return _named_and({"fractional": [{"cat": [f"layer:{slot.layer}:", _USER]}, *parts]})


def _named_and(rule: dict[str, Any]) -> dict[str, Any]:
    return {"and": [_USER, rule]}
