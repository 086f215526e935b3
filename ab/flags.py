"""What a flag is: variants of one type, and who gets which.

    kill switch -> override -> slot of a layer -> targeting -> rollout -> default variant

The first that says something decides; `ab.assignment` has that walk. A rollout takes a share of
all users, the same ones for as long as the share is not lowered, and splits them among its arms by
a second, independent hash: so raising the share moves nobody from one arm to another. Where flags
are kept: `ab.store`. Their JSON: `ab.definition`; flagd's: `ab.flagd`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ab import logic
from ab.buckets import MAX_TOTAL
from ab.errors import InvalidFlag

WHOLE = 100_000  # shares and slots count thousandths of a percent
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME_CHARS = 100
_TYPES = ((bool, "true or false"), (str, "text"), (int | float, "numbers"), (dict, "objects"))

Value = bool | str | int | float | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a split, with its weight relative to the others'."""

    variant: str
    weight: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """A share of all users, in thousandths of a percent, split among arms.

    salt: two flags with the same one choose the same users; a new one shuffles everybody.

    Raises:
        InvalidFlag: the share or a weight is out of its range.
    """

    share: int
    arms: tuple[Arm, ...]
    salt: str

    def __post_init__(self) -> None:
        if not 0 <= self.share <= WHOLE:
            raise InvalidFlag("rollout.share", self.share / 1000, "give 0 to 100 percent")
        weights = [arm.weight for arm in self.arms]
        if not weights or min(weights) < 0 or not 0 < sum(weights) <= MAX_TOTAL:
            raise InvalidFlag(
                "rollout.arms", weights, f"give whole weights, summing up to 1 to {MAX_TOTAL}"
            )
        if len({arm.variant for arm in self.arms}) < len(self.arms):
            raise InvalidFlag("rollout.arms", [a.variant for a in self.arms], "name each once")
        _check_name("rollout.salt", self.salt)


@dataclass(frozen=True, slots=True)
class Slot:
    """The users of a layer that a flag may have; those of two slots are never the same.

    Raises:
        InvalidFlag: the borders are not in order.
    """

    layer: str
    begin: int
    end: int

    def __post_init__(self) -> None:
        _check_name("slot.layer", self.layer)
        if not 0 <= self.begin < self.end <= WHOLE:
            raise InvalidFlag(
                "slot", [self.begin / 1000, self.end / 1000], "give 0 <= a < b <= 100"
            )


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. enabled: the kill switch; without it everybody gets the default variant.

    overrides: variants by user. targeting: a rule (`ab.logic`) that gives a variant or null.
    archived: it is as if there were no such flag; nothing but its history is left.

    Raises:
        InvalidFlag: naming the part that is wrong.
    """

    key: str
    variants: Mapping[str, Value]
    default_variant: str
    enabled: bool = True
    overrides: Mapping[str, str] = field(default_factory=dict)
    slot: Slot | None = None
    targeting: Any = None
    rollout: Rollout | None = None
    description: str = ""
    archived: bool = False

    def __post_init__(self) -> None:
        if self.archived and self.enabled:
            raise InvalidFlag("archived", True, "a flag that is on cannot be; restore it first")
        if not _KEY.fullmatch(self.key):
            raise InvalidFlag("key", self.key, "give up to 100 letters, digits, dots and dashes")
        self._check_variants()
        self.check_variant("default_variant", self.default_variant)
        for user, variant in self.overrides.items():
            _check_name("overrides", user)
            self.check_variant(f"overrides.{user}", variant)
        if self.rollout is not None:
            for arm in self.rollout.arms:
                self.check_variant("rollout.arms", arm.variant)
        logic.check(self.targeting)

    def check_variant(self, name: str, variant: str) -> None:
        """Refuse a variant that the flag does not have.

        Raises:
            InvalidFlag: naming the field `name`.
        """
        if variant not in self.variants:
            raise InvalidFlag(name, variant, f"give one of {', '.join(self.variants)}")

    def _check_variants(self) -> None:
        if not self.variants:
            raise InvalidFlag("variants", {}, "give at least one")
        for name in self.variants:
            _check_name("variants", name)
        for kind, _ in _TYPES:
            if all(_is(value, kind) for value in self.variants.values()):
                return
        words = ", ".join(word for _, word in _TYPES)
        raise InvalidFlag("variants", dict(self.variants), f"give values of one type: {words}")


def moves_users(before: Rollout | None, after: Rollout | None) -> bool:
    """Tell whether users whom a rollout has reached would get another arm by another split."""
    if before is None or after is None or not before.share:
        return False
    return (after.arms, after.salt) != (before.arms, before.salt)


def check_layers(flags: Iterable[Flag]) -> None:
    """Refuse flags whose slots of a layer overlap: somebody would be in both experiments.

    Raises:
        InvalidFlag: naming both flags.
    """
    taken: dict[str, list[tuple[int, int, str]]] = {}
    for flag in flags:
        if flag.slot is not None and not flag.archived:
            place = (flag.slot.begin, flag.slot.end, flag.key)
            taken.setdefault(flag.slot.layer, []).append(place)
    for layer, places in taken.items():
        places.sort()
        for (_, end, one), (begin, _, other) in itertools.pairwise(places):
            if begin < end:
                raise InvalidFlag("slot", layer, f"{one} and {other} overlap there; move one")


def _check_name(field_name: str, name: str) -> None:
    if not 0 < len(name) <= _NAME_CHARS or not name.isprintable():
        raise InvalidFlag(field_name, name, f"give 1 to {_NAME_CHARS} printable characters")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind)
