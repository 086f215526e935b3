"""Accepted and rejected suggestions for one place, of those who agreed that models learn of them.

Events hold no code, so the texts come from a file of their own: JSON lines of `suggestion`, `user`,
`prefix`, `suffix`, `path`, `text` and `training`. A pair leaves only if

- the boolean flag of consent is enabled and has an override for that very user whose value is true,
  now: neither its default nor a rollout nor a rule is anybody's consent, and taking the override
  back ends it;
- both lines say `"training": true`, so that code sent before a consent is not covered by it;
- texts and events name the same user.

Everything else is counted by the reason and left out. Accepted means whole, by the user, and not
mostly gone later; rejected means by a key. Read `pairs`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ab.events import Event, Kind
from ab.flags import Flag
from tabwright.errors import ConfigError

_KEPT = 0.5  # share of an accepted text that must still stand, where it is known


@dataclass(frozen=True, slots=True)
class Text:
    """What one suggestion was, and for which place. suffix None: it was not asked to fill."""

    suggestion: str
    user: str
    prefix: str
    suffix: str | None
    path: str
    text: str
    training: bool


class Pair(NamedTuple):
    """One line of the export, in the words of `training/pairs.py`."""

    prefix: str
    suffix: str | None
    path: str
    chosen: str
    rejected: str


class Export(NamedTuple):
    """Pairs, and how many suggestions with a verdict were left out, by reason."""

    pairs: list[Pair]
    left_out: Counter[str]


def pairs(events: Iterable[Event], texts: Iterable[Text], consent: Flag) -> Export:
    """Pair every accepted text with every rejected one of the same user and place."""
    verdicts = _verdicts(events)
    chosen: dict[tuple[str, ...], dict[str, Text]] = defaultdict(dict)
    rejected: dict[tuple[str, ...], dict[str, Text]] = defaultdict(dict)
    left_out: Counter[str] = Counter()
    for text in texts:
        user, accepted = verdicts.get(text.suggestion, ("", None))
        if accepted is None:
            continue
        if reason := _refused(text, user, consent):
            left_out[reason] += 1
            continue
        place = (user, text.path, text.prefix, text.suffix or "", str(text.suffix is None))
        (chosen if accepted else rejected)[place][text.text] = text
    found = [
        Pair(good.prefix, good.suffix, good.path, good.text, bad.text)
        for place, texts_of in chosen.items()
        for good in texts_of.values()
        for bad in rejected.get(place, {}).values()
        if good.text != bad.text and good.text and bad.text
    ]
    return Export(found, left_out)


def read_texts(path: Path) -> Iterator[Text]:
    """Read a file of texts.

    Raises:
        ConfigError: it cannot be read, or a line is wrong; its content is not shown.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield _text(line, f"{path}: line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--texts: {path} cannot be read: {error}") from None


def _refused(text: Text, user: str, consent: Flag) -> str:
    """Why a text may not leave; empty if it may."""
    if not user or text.user != user:
        return "of nobody known"
    agreed = consent.overrides.get(user)
    if not consent.enabled or agreed is None or consent.variants[agreed] is not True:
        return "no consent"
    return "" if text.training is True else "not recorded for training"


def _verdicts(events: Iterable[Event]) -> dict[str, tuple[str, bool | None]]:
    """User of each suggestion and whether it was accepted; None: both, or taken back."""
    users: dict[str, set[str]] = defaultdict(set)
    told: dict[str, set[bool]] = defaultdict(set)
    gone: set[str] = set()
    for event in events:
        if event.kind is Kind.ACCEPTED and event.part in ("", "full"):
            told[event.suggestion].add(True)
        elif event.kind is Kind.DISMISSED and event.explicit:
            told[event.suggestion].add(False)
        elif event.kind is Kind.RETAINED and (event.retained_share or 0) < _KEPT:
            gone.add(event.suggestion)
        else:
            continue
        users[event.suggestion].add(event.user)
    return {
        name: (
            next(iter(users[name])) if len(users[name]) == 1 else "",
            None if len(said) > 1 or (name in gone and True in said) else next(iter(said)),
        )
        for name, said in told.items()
    }


def _text(line: str, place: str) -> Text:
    try:
        told: Mapping[str, object] = json.loads(line)
        fields = {name: told[name] for name in ("suggestion", "user", "prefix", "text")}
        path, suffix = told.get("path", ""), told.get("suffix")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"--texts: {place}: {type(error).__name__}; see docs/ab.md") from None
    texts = [*fields.values(), path, "" if suffix is None else suffix]
    if not all(isinstance(value, str) for value in texts):
        raise ConfigError(f"--texts: {place}: give text in all fields but `training`")
    suggestion, user, prefix, text = map(str, fields.values())
    filled = None if suffix is None else str(suffix)
    return Text(suggestion, user, prefix, filled, str(path), text, told.get("training") is True)
