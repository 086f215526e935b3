"""A flag as JSON and back: what stores keep, and what an exported flagd flag carries along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ab.errors import InvalidFlag
from ab.flags import Arm, Flag, Rollout, Slot
from ab.store import Version

_FIELDS = (
    "variants", "default_variant", "enabled", "overrides", "slot", "targeting", "rollout",
    "description", "archived",
)  # fmt: skip


def to_json(flag: Flag) -> str:
    """Write `flag` without its key, equal flags equally."""
    slot, rollout = flag.slot, flag.rollout
    fields = {
        "variants": dict(flag.variants),
        "default_variant": flag.default_variant,
        "enabled": flag.enabled,
        "overrides": dict(flag.overrides) or None,
        "slot": slot and {"layer": slot.layer, "begin": slot.begin, "end": slot.end},
        "targeting": flag.targeting,
        "rollout": rollout
        and {
            "share": rollout.share,
            "salt": rollout.salt,
            "arms": {arm.variant: arm.weight for arm in rollout.arms},
        },
        "description": flag.description or None,
        "archived": flag.archived or None,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def describe(version: Version) -> dict[str, Any]:
    """Tell all of a version: the flag's definition, and who wrote it, when and why."""
    told = {"revision": version.revision, "at": version.at, "who": version.who, "why": version.why}
    return {"key": version.flag.key, **told, **json.loads(to_json(version.flag))}


def write(version: Version) -> str:
    """Write all of a version, for `read`."""
    flag = version.flag
    return json.dumps(
        [flag.key, version.revision, version.at, version.who, version.why, to_json(flag)]
    )


def read(text: str | bytes) -> Version:
    """Read what `write` has written.

    Raises:
        InvalidFlag: naming the field that is wrong.
    """
    key, revision, at, who, why, body = json.loads(text)
    return Version(from_json(key, body), revision, at, who, why)


def from_json(key: str, text: str) -> Flag:
    """Read a flag.

    Raises:
        InvalidFlag: naming the field that is wrong.
    """
    given = read_object(text)
    if unknown := sorted(set(given) - set(_FIELDS)):
        raise InvalidFlag(unknown[0], given[unknown[0]], f"known fields: {', '.join(_FIELDS)}")
    slot, rollout = given.get("slot"), given.get("rollout")
    return Flag(
        key=key,
        variants=of_type(given, "variants", dict),
        default_variant=of_type(given, "default_variant", str),
        enabled=of_type(given, "enabled", bool, True),
        overrides=_texts(of_type(given, "overrides", dict, {})),
        slot=_slot(of_type(given, "slot", dict)) if slot is not None else None,
        targeting=given.get("targeting"),
        rollout=_rollout(of_type(given, "rollout", dict)) if rollout is not None else None,
        description=of_type(given, "description", str, ""),
        archived=of_type(given, "archived", bool, False),
    )


def read_object(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidFlag: it is none.
    """
    try:
        given = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidFlag("flags", str(error), "give JSON") from None
    if not isinstance(given, dict):
        raise InvalidFlag("flags", given, "give a JSON object")
    return given


def of_type(given: Mapping[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """Value of the field `name`, which must have the type `kind`.

    Raises:
        InvalidFlag: it is missing without a default, or of another type.
    """
    value = given.get(name, default)
    if value is ...:
        raise InvalidFlag(name, None, "it is required")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {dict: "an object", str: "a text", bool: "true or false", int: "a whole number"}
        raise InvalidFlag(name, value, f"give {words[kind]}")
    return value


def _slot(given: Mapping[str, Any]) -> Slot:
    begin, end = of_type(given, "begin", int), of_type(given, "end", int)
    return Slot(of_type(given, "layer", str), begin, end)


def _rollout(given: Mapping[str, Any]) -> Rollout:
    arms = of_type(given, "arms", dict)
    return Rollout(
        share=of_type(given, "share", int),
        arms=tuple(Arm(name, of_type(arms, name, int)) for name in arms),
        salt=of_type(given, "salt", str),
    )


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    return {name: of_type(given, name, str) for name in given}


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
