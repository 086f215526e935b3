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
from typing import NamedTuple

from ab.events import Event, Kind

RETAINED_S = (30, 120, 300, 600)


class Cell(NamedTuple):
    """Where a suggestion is counted. day: of its first event, UTC, like 2026-11-21."""

    day: str
    user: str
    variant: str
    language: str
    editor: str


class Counts(NamedTuple):
    """What is counted, of suggestions unless said.

    chars: characters accepted. total_us, timed: sum and number of times to the end of a request.
    known_*: accepted ones of which it is known how much still stands; kept_*: how much, in
    thousandths of a suggestion.
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
    )
    return _cell(given), counts._replace(**_retained(given))


def _cell(events: list[Event]) -> Cell:
    day = datetime.fromtimestamp(min(event.at for event in events), UTC).date().isoformat()
    # A report on a suggestion that its gateway did not know lacks what the others have.
    return Cell(
        day,
        max(event.user for event in events),
        max(event.variant for event in events),
        max(event.language for event in events),
        max(event.editor for event in events),
    )


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
