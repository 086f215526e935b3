"""One thing that happened to a suggestion, as experiments see it, read from the event file.

The file is the gateway's (docs/events.md); what experiments do not need is not kept. The variant of
a suggestion is the model that made it, its editor the protocol, its user the named person or else
the API key. `arms` are the variants of flags it was made under, like `model=new&lines=one`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any

from ab.errors import InvalidEvent

MAX_LINE = 65_536
SKEW_S = 300.0  # how far an editor's clock may be ahead
FAILURES = frozenset({"busy", "unavailable", "broken"})  # outcomes that an operator must act on
_TEXT_CHARS = 200
_ARMS_CHARS = 4_000


class Kind(StrEnum):
    """What happened."""

    REQUESTED = "requested"
    RETURNED_EMPTY = "returned_empty"
    SHOWN = "shown"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    RETAINED = "retained"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. id: equal for equal events. at: seconds since 1970. What is not known is empty.

    chars, part: of ACCEPTED, and chars of INFERRED: that it was accepted, told by the text of the
    next request and by nobody. failed, source and the times: of REQUESTED. shown_ms: how long it
    had been shown. explicit: of DISMISSED; None: nobody knows. retained_share: how much still
    stands after_s seconds after it was accepted.
    """

    id: str
    kind: Kind
    at: float
    suggestion: str
    user: str = ""
    variant: str = ""
    language: str = ""
    editor: str = ""
    arms: str = ""
    chars: int = 0
    part: str = ""
    failed: bool = False
    source: str = ""
    wait_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    shown_ms: float | None = None
    explicit: bool | None = None
    after_s: float | None = None
    retained_share: float | None = None


_FIELDS = tuple(field.name for field in fields(Event))
_DEFAULTS = {field.name: field.default for field in fields(Event) if field.default is not MISSING}


def read_line(line: str | bytes, now: float) -> Event:
    """Read one line of the gateway's event file.

    Raises:
        InvalidEvent: naming the field that is wrong.
    """
    if len(line) > MAX_LINE:
        raise InvalidEvent("event", f"{len(line)} bytes", f"give lines of up to {MAX_LINE}")
    try:
        given = json.loads(line)
        about = given["suggestion"]
        kind = Kind(given["kind"])
        wanted = (given["id"], given["at"], about["id"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidEvent("event", str(error), "give JSON lines as docs/events.md has") from None
    if not all((isinstance(text, str) and text) for text in (wanted[0], wanted[2])):
        raise InvalidEvent("id", wanted[0], "give event and suggestion ids as text")
    at = _number(given, "at", None)
    if at is None or not 0 < at <= now + SKEW_S:
        raise InvalidEvent("at", wanted[1], "give seconds since 1970, not in the future")
    return Event(
        id=event_id(_text(given, "id"), _text(about, "key"), _text(given, "reported_by")),
        kind=kind,
        at=at,
        suggestion=_text(about, "id"),
        user=_text(about, "user") or _text(about, "key"),
        variant=_text(about, "model"),
        language=_text(about, "language"),
        editor=_text(about, "protocol"),
        arms=_text(about, "variants", _ARMS_CHARS),
        chars=int(_number(given, "chars", 0) or 0),
        part=_text(given, "part"),
        failed=_text(given, "outcome") in FAILURES,
        source=_text(about, "source"),
        wait_ms=_number(given, "wait_ms", None),
        first_token_ms=_number(given, "first_token_ms", None),
        total_ms=_number(given, "total_ms", None),
        shown_ms=_number(given, "shown_ms", None),
        explicit=explicit if isinstance(explicit := given.get("explicit"), bool) else None,
        after_s=_number(given, "after_s", None),
        retained_share=_number(given, "retained_share", None, most=1),
    )


def event_id(told: str, key: str, reported_by: str) -> str:
    """The id of an event among those of everybody: editors choose theirs without knowing others."""
    return f"{key}/{told}" if key and reported_by else told


def to_json(event: Event) -> str:
    """Write an event for a store; what is as it is without being said is left out."""
    fields = {name: getattr(event, name) for name in _FIELDS}
    return json.dumps({k: v for k, v in fields.items() if v != _DEFAULTS.get(k, ...)})


def from_json(text: str | bytes) -> Event:
    """Read what `to_json` wrote."""
    fields = json.loads(text)
    return Event(**{**fields, "kind": Kind(fields["kind"])})


def _text(given: Mapping[str, Any], name: str, most: int = _TEXT_CHARS) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise InvalidEvent(name, value, f"give up to {most} printable characters")
    return value


def _number(
    given: Mapping[str, Any], name: str, default: float | None, most: float = 1e12
) -> float | None:
    value = given.get(name)
    if value is None:
        return default
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or not 0 <= value <= most:
        raise InvalidEvent(name, value, f"give a number from 0 to {most:g}")
    return float(value)
