"""One thing that happened to a suggestion, as experiments see it, read from the event file.

The file is the gateway's (docs/events.md); what experiments do not need is not kept. The variant of
a suggestion is the model that made it, its editor the protocol, its user the named person or else
the API key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ab.errors import InvalidEvent

MAX_LINE = 65_536
SKEW_S = 300.0  # how far an editor's clock may be ahead
_TEXT_CHARS = 200


class Kind(StrEnum):
    """What happened."""

    REQUESTED = "requested"
    RETURNED_EMPTY = "returned_empty"
    SHOWN = "shown"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    RETAINED = "retained"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. id: equal for equal events. at: seconds since 1970. What is not known is empty.

    chars: of ACCEPTED. total_ms: of REQUESTED. explicit: of DISMISSED. retained_share: how much
    still stands after_s seconds after it was accepted.
    """

    id: str
    kind: Kind
    at: float
    suggestion: str
    user: str = ""
    variant: str = ""
    language: str = ""
    editor: str = ""
    chars: int = 0
    total_ms: float | None = None
    explicit: bool = False
    after_s: float | None = None
    retained_share: float | None = None


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
        id=_text(given, "id"),
        kind=kind,
        at=at,
        suggestion=_text(about, "id"),
        user=_text(about, "user") or _text(about, "key"),
        variant=_text(about, "model"),
        language=_text(about, "language"),
        editor=_text(about, "protocol"),
        chars=int(_number(given, "chars", 0) or 0),
        total_ms=_number(given, "total_ms", None),
        explicit=given.get("explicit") is True,
        after_s=_number(given, "after_s", None),
        retained_share=_number(given, "retained_share", None, most=1),
    )


def to_json(event: Event) -> str:
    """Write an event for a store."""
    return json.dumps({k: v for k, v in asdict(event).items() if v not in ("", None)})


def from_json(text: str | bytes) -> Event:
    """Read what `to_json` wrote."""
    fields = json.loads(text)
    return Event(**{**fields, "kind": Kind(fields["kind"])})


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str) or len(value) > _TEXT_CHARS or not value.isprintable():
        raise InvalidEvent(name, value, f"give up to {_TEXT_CHARS} printable characters")
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
