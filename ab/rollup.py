"""What a suggestion's events add up to, per user, day, variant, language and editor.

A suggestion counts once: shown or not, accepted or not, however many words of it were taken or
how often its editor told. What it counts for is a function of the set of its events, so their order
and their repetition cannot matter; a late event moves the difference. All counts are integers, so
adding and subtracting is exact. Sums per user are all that `ab.acceptance` needs: the cost of an
analysis grows with users and days, not with events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from ab.events import Event, Kind

RETAINED_S = (30, 120, 300, 600)
DWELL_MS = 750.0  # what was shown for less may not have been seen
LATENCY_MS = (50, 100, 150, 200, 300, 500, 800, 1200, 2000)


class Cell(NamedTuple):
    """Where a suggestion is counted. day: of its first event, UTC, like 2026-11-21.

    arms: the variants of flags, like `model=new&lines=one`; `arm_of` reads them.
    """

    day: str
    user: str
    variant: str
    language: str
    editor: str
    arms: str = ""


class Counts(NamedTuple):
    """What is counted, of suggestions unless said.

    chars: characters accepted. total_us, timed: sum and number of times to the end of a request.
    known_*: accepted ones of which it is known how much still stands; kept_*: how much, in
    thousandths of a suggestion. failed: requests that nobody but an operator can help. remembered:
    answered without the engine. dwell_known, dwelt: shown ones of which it is known for how long,
    and those shown for `DWELL_MS` or accepted. typed_on: dismissed by typing something else. full,
    word, line: accepted so, each kind once. wait_us, waited, first_us, begun: sums and numbers of
    times until a slot and the first token. within_*: requests that took so many milliseconds and
    not the next smaller number. inferred: accepted as far as the next request tells, apart from
    `accepted`, which editors report.
    """

    requested: int = 0
    empty: int = 0
    shown: int = 0
    accepted: int = 0
    chars: int = 0
    dismissed: int = 0
    explicit: int = 0
    total_us: int = 0
    timed: int = 0
    known_30: int = 0
    kept_30: int = 0
    known_120: int = 0
    kept_120: int = 0
    known_300: int = 0
    kept_300: int = 0
    known_600: int = 0
    kept_600: int = 0
    failed: int = 0
    remembered: int = 0
    dwell_known: int = 0
    dwelt: int = 0
    typed_on: int = 0
    full: int = 0
    word: int = 0
    line: int = 0
    wait_us: int = 0
    waited: int = 0
    first_us: int = 0
    begun: int = 0
    within_50: int = 0
    within_100: int = 0
    within_150: int = 0
    within_200: int = 0
    within_300: int = 0
    within_500: int = 0
    within_800: int = 0
    within_1200: int = 0
    within_2000: int = 0
    inferred: int = 0
    inferred_chars: int = 0


NOTHING = Counts()


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    given = list(counts)
    if len(given) < 2:
        return given[0] if given else NOTHING
    return Counts(*map(sum, zip(*given, strict=True)))


@lru_cache(4096)  # there are a few, each in thousands of cells
def arm_of(arms: str, flag: str) -> str | None:
    """The variant of `flag` that chance gave, if it did: overrides are marked with `!`."""
    for pair in arms.split("&"):
        name, _, variant = pair.partition("=")
        if name == flag:
            return unquote(variant)
    return None


def differences(
    before: Mapping[str, Iterable[Event]], after: Mapping[str, Iterable[Event]]
) -> dict[Cell, Counts]:
    """What to add to the counts of cells when the events of these suggestions change."""
    changes: dict[Cell, Counts] = {}
    for events_of, sign in ((before, -1), (after, 1)):
        for events in events_of.values():
            if found := counted(events):
                cell, counts = found
                sofar = changes.get(cell, Counts())
                changes[cell] = Counts(*(a + sign * b for a, b in zip(sofar, counts, strict=True)))
    return {cell: counts for cell, counts in changes.items() if any(counts)}


def counted(events: Iterable[Event]) -> tuple[Cell, Counts] | None:
    """Where the suggestion with these events counts, and for what; None: there are none."""
    given = sorted(events, key=lambda event: event.id)
    if not given:
        return None
    kinds = {event.kind for event in given}
    accepted = Kind.ACCEPTED in kinds
    timed = [event.total_ms for event in given if event.total_ms is not None]
    counts = Counts(
        requested=int(Kind.REQUESTED in kinds),
        empty=int(Kind.RETURNED_EMPTY in kinds),
        # Its own report may be lost, or not sent: who took it or refused it has seen it.
        shown=int(bool(kinds & {Kind.SHOWN, Kind.ACCEPTED, Kind.DISMISSED})),
        accepted=int(accepted),
        chars=sum(event.chars for event in given if event.kind is Kind.ACCEPTED),
        dismissed=int(Kind.DISMISSED in kinds and not accepted),
        explicit=int(any(event.explicit for event in given) and not accepted),
        total_us=round(max(timed, default=0.0) * 1000),
        timed=int(bool(timed)),
        failed=int(any(event.failed for event in given)),
        remembered=int(any(event.source in ("memory", "joined") for event in given)),
        typed_on=int(any(event.explicit is False for event in given) and not accepted),
        inferred=int(Kind.INFERRED in kinds),
        inferred_chars=max((e.chars for e in given if e.kind is Kind.INFERRED), default=0),
    )
    more = _retained(given) | _latency(given) | _parts(given, accepted)
    return _cell(given), counts._replace(**more)


def _cell(events: list[Event]) -> Cell:
    day = datetime.fromtimestamp(min(event.at for event in events), UTC).date().isoformat()
    # A report on a suggestion that its gateway did not know lacks what the others have.
    return Cell(
        day,
        max(event.user for event in events),
        max(event.variant for event in events),
        max(event.language for event in events),
        max(event.editor for event in events),
        max(event.arms for event in events),
    )


def _latency(events: list[Event]) -> dict[str, int]:
    """The time of a request, split where its way is."""
    found: dict[str, int] = {}
    for count, total, name in (
        ("waited", "wait_us", "wait_ms"),
        ("begun", "first_us", "first_token_ms"),
    ):
        times = [ms for event in events if (ms := getattr(event, name)) is not None]
        if times:
            found |= {count: 1, total: round(max(times) * 1000)}
    took = max((event.total_ms for event in events if event.total_ms is not None), default=None)
    limit = next((ms for ms in LATENCY_MS if took is not None and took <= ms), None)
    return found | ({f"within_{limit}": 1} if limit else {})


def _parts(events: list[Event], accepted: bool) -> dict[str, int]:
    """How long it was shown, and how it was accepted."""
    found = {
        part: 1
        for event in events
        if event.kind is Kind.ACCEPTED and (part := event.part) in ("full", "word", "line")
    }
    shown = max((event.shown_ms for event in events if event.shown_ms is not None), default=None)
    if accepted or shown is not None:
        found |= {"dwell_known": 1, "dwelt": int(accepted or (shown or 0.0) >= DWELL_MS)}
    return found


def _retained(events: list[Event]) -> dict[str, int]:
    found = {}
    for after in RETAINED_S:
        shares = [
            event.retained_share
            for event in events
            if event.kind is Kind.RETAINED
            and event.after_s == after
            and event.retained_share is not None
        ]
        if shares:
            found[f"known_{after}"] = 1
            found[f"kept_{after}"] = round(max(shares) * 1000)
    return found
