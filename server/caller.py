"""Who asks, and how eager they want suggestions to be.

A request's wishes come from its headers, else from the caller, else from the settings:

    X-Tabwright-User             the person behind a key that several share
    X-Tabwright-Delay-Ms         wait so long for a newer keystroke before starting
    X-Tabwright-Min-Confidence   show nothing the model is less sure of, 0 to 1
    X-Tabwright-Lines            auto, single or multi
    X-Tabwright-Postprocess      off for raw text, or a version
    X-Tabwright-Typeahead        off: neither answer from memory nor remember
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from server.postprocess import VERSIONS
from server.rates import Rate
from tabwright.errors import InvalidRequest

MAX_DELAY_MS = 2000.0
USER_CHARS = 128


class Lines(StrEnum):
    """How far a suggestion may go; AUTO decides by what stands around the cursor."""

    AUTO = "auto"
    SINGLE = "single"
    MULTI = "multi"


@dataclass(frozen=True, slots=True)
class Eagerness:
    """How soon, how sure and how long suggestions are to be.

    delay_ms: time to wait for a newer keystroke before anything is computed. min_confidence: the
    least geometric mean of the token probabilities, 0 to 1; 0 shows everything.

    Raises:
        InvalidRequest: a value is out of its range.
    """

    delay_ms: float = 0.0
    min_confidence: float = 0.0
    lines: Lines = Lines.AUTO

    def __post_init__(self) -> None:
        if not 0 <= self.delay_ms <= MAX_DELAY_MS:
            raise InvalidRequest("delay_ms", self.delay_ms, f"give 0 to {MAX_DELAY_MS:g}")
        if not 0 <= self.min_confidence <= 1:
            raise InvalidRequest("min_confidence", self.min_confidence, "give a number from 0 to 1")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one request wants of the gateway beyond its protocol.

    postprocess: a version of the chain, or "off"; it is for fill-in-the-middle only, and plain
    continuations are always raw. typeahead: whether it may be answered from memory and remembered.
    speculate: whether what follows may be generated before anybody asks. asked: what the request
    itself says, so that no flag decides about it.
    """

    eagerness: Eagerness = field(default_factory=Eagerness)
    postprocess: str = "off"
    typeahead: bool = True
    speculate: bool = False
    asked: frozenset[str] = frozenset()


class KeyScope(StrEnum):
    """What a key is good for. ADMIN: also what belongs to other callers."""

    COMPLETE = "complete"
    EVENTS = "events"
    ADMIN = "admin"


ALL_SCOPES = frozenset(KeyScope)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. key: the API key's id, empty on an open gateway; user: the person, if we know.

    address: where a caller without a key comes from, on an open gateway. rate: what the key may
    start, all its people together; None: no limit of its own. holder: the API key's name, whoever
    the person is.
    """

    key: str = ""
    user: str = ""
    address: str = ""
    eagerness: Eagerness | None = None
    scopes: frozenset[KeyScope] = ALL_SCOPES
    rate: Rate | None = None
    holder: str = ""

    @property
    def share(self) -> str:
        """The unit of fair shares, limits and memory: nobody is answered with another's text."""
        return f"{self.owner}/{self.user}"

    @property
    def owner(self) -> str:
        """Whose the requests are; who has the key may name any user of it."""
        return self.key or self.address


def named_user(headers: Mapping[str, str]) -> str:
    """Read the person's name from `X-Tabwright-User`, empty where there is none.

    Raises:
        InvalidRequest: it is too long or not printable.
    """
    return checked_user(headers.get("x-tabwright-user", ""), "X-Tabwright-User")


def checked_user(name: str, field: str) -> str:
    """Check a person's name that `field` of a request gives.

    Raises:
        InvalidRequest: it is too long or not printable.
    """
    user = name.strip()
    if len(user) > USER_CHARS or not user.isprintable():
        raise InvalidRequest(field, "...", f"give up to {USER_CHARS} printable characters")
    return user


def read_wishes(headers: Mapping[str, str], default: Wishes) -> Wishes:
    """Read what the headers ask for, over `default`.

    Raises:
        InvalidRequest: naming the header that is wrong.
    """
    if not any(name.startswith("x-tabwright-") for name in headers):
        return default
    before = default.eagerness
    delay_ms = _number(headers, "X-Tabwright-Delay-Ms", before.delay_ms, MAX_DELAY_MS)
    sure = _number(headers, "X-Tabwright-Min-Confidence", before.min_confidence, 1)
    lines = _one_of(headers, "X-Tabwright-Lines", before.lines, tuple(Lines))
    chain = _one_of(headers, "X-Tabwright-Postprocess", default.postprocess, ("off", *VERSIONS))
    memory = "on" if default.typeahead else "off"
    memory = _one_of(headers, "X-Tabwright-Typeahead", memory, ("on", "off"))
    asked = {name for name in ("lines", "postprocess") if f"x-tabwright-{name}" in headers}
    return replace(
        default,
        eagerness=Eagerness(delay_ms, sure, Lines(lines)),
        postprocess=chain,
        typeahead=memory == "on",
        asked=frozenset(asked),
    )


def _number(headers: Mapping[str, str], name: str, default: float, most: float) -> float:
    given = headers.get(name.lower())
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise InvalidRequest(name, given[:40], f"give a number from 0 to {most:g}")
    return value


def _one_of(headers: Mapping[str, str], name: str, default: str, known: tuple[str, ...]) -> str:
    given = headers.get(name.lower())
    if given is None:
        return default
    if given not in known:
        raise InvalidRequest(name, given[:40], f"give one of {', '.join(known)}")
    return given
