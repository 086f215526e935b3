"""Which variant a user gets, and why.

A pure function of the flag and the context: no store, no network, no memory. So the same user gets
the same variant in every process, and nothing has to be remembered to make it stick.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ab import logic
from ab.buckets import bucket, pick
from ab.flags import WHOLE, Flag, Rollout, Value


class Reason(StrEnum):
    """Why a variant was chosen, in OpenFeature's words."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variant, its value, and why."""

    variant: str
    value: Value
    reason: Reason


def assign(flag: Flag, context: Mapping[str, Any]) -> Assignment:
    """Choose the variant of `flag` for who is described by `context`.

    `targetingKey` is the user; without one no split applies. Rules also see language, editor,
    cohort or what else the caller puts there, `$flagd.flagKey` and `$flagd.timestamp`.
    """
    variant, reason = _chosen(flag, context)
    return Assignment(variant, flag.variants[variant], reason)


def in_slot(flag: Flag, user: str) -> bool:
    """Tell whether the flag may have `user`; without a slot it may have everybody."""
    if flag.slot is None:
        return True
    place = bucket(f"layer:{flag.slot.layer}:{user}", WHOLE)
    return bool(user) and flag.slot.begin <= place < flag.slot.end


def _chosen(flag: Flag, context: Mapping[str, Any]) -> tuple[str, Reason]:
    if not flag.enabled:
        return flag.default_variant, Reason.DISABLED
    user = context.get("targetingKey")
    if not isinstance(user, str):
        user = ""
    if user in flag.overrides:
        return flag.overrides[user], Reason.TARGETING_MATCH
    if not in_slot(flag, user):
        return flag.default_variant, Reason.DEFAULT
    if flag.targeting is not None:
        found = _targeted(flag, context)
        if found is not None:
            return found
    if flag.rollout is None:
        constant = flag.targeting is None and flag.slot is None and not flag.overrides
        return flag.default_variant, Reason.STATIC if constant else Reason.DEFAULT
    return _rolled_out(flag.rollout, user) or (flag.default_variant, Reason.DEFAULT)


def _targeted(flag: Flag, context: Mapping[str, Any]) -> tuple[str, Reason] | None:
    """What the rule says; None if it says nothing."""
    facts = {"$flagd": {"flagKey": flag.key, "timestamp": int(time.time())}}
    found = logic.evaluate(flag.targeting, {**context, **facts})
    if found is None:
        return None
    if isinstance(found, bool):
        found = "true" if found else "false"
    if not isinstance(found, str) or found not in flag.variants:
        return flag.default_variant, Reason.ERROR
    return found, Reason.TARGETING_MATCH


def _rolled_out(rollout: Rollout, user: str) -> tuple[str, Reason] | None:
    if not user or bucket(f"{rollout.salt}:share:{user}", WHOLE) >= rollout.share:
        return None
    chosen = pick(f"{rollout.salt}:arm:{user}", [arm.weight for arm in rollout.arms])
    return None if chosen is None else (rollout.arms[chosen].variant, Reason.SPLIT)
