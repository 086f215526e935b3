"""The seams of what is kept: flags with their history, events with their roll-ups, decisions.

Calls block; an implementation may be used by several threads and processes at once. Which there
are: `ab.stores.registry`. Contract: tests/contracts/test_ab_stores.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ab.events import Event
from ab.flags import Flag
from ab.offers import Offers
from ab.rollup import Cell, Counts


@dataclass(frozen=True, slots=True)
class Version:
    """A flag as it was written once. revision: 1 for the first. at: seconds since 1970."""

    flag: Flag
    revision: int
    at: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided once about a variant of a flag. at: seconds since 1970.

    verdict: PROMOTE, HOLD or ROLL_BACK. body: JSON, all that it was decided by. id: the
    digest of all the rest, so that a decision that was altered is known by it.
    """

    id: str
    flag: str
    candidate: str
    at: float
    who: str
    why: str
    verdict: str
    body: str


class DecisionLog(Protocol):
    """Keeps decisions; none is ever changed."""

    def record(self, decision: Decision) -> None:
        """Keep a decision, once.

        Raises:
            StoreAway: it may not be kept.
        """

    def decisions(self, flag: str = "") -> list[Decision]:
        """Decisions about a flag, or about all, oldest first.

        Raises:
            StoreAway: it does not answer.
        """


class FlagStore(Protocol):
    """Keeps flags, and everything that they ever were."""

    def flags(self) -> dict[str, Version]:
        """Newest version of each flag, by key.

        Raises:
            StoreAway: it does not answer.
        """

    def stamp(self) -> int:
        """A number that grows with every write, cheap to ask for.

        Raises:
            StoreAway: it does not answer.
        """

    def put(self, flag: Flag, expected: int, at: float, who: str, why: str) -> Version:
        """Write a flag that was read at the revision `expected`, 0 for a new one.

        Raises:
            StaleRevision: it has another revision by now.
            InvalidFlag: its slot overlaps another flag's.
            StoreAway: it does not answer; whether the flag was written is not known.
        """

    def history(self, key: str) -> list[Version]:
        """All versions of a flag, oldest first; empty: there is none.

        Raises:
            StoreAway: it does not answer.
        """

    def announce(self, gateway: str, offers: Offers, at: float) -> None:
        """Keep what a running gateway can obey, in place of what it said before.

        Raises:
            StoreAway: it may not be kept.
        """

    def gateways(self, since: float) -> dict[str, Offers]:
        """What gateways have said after `since`, by their names.

        Raises:
            StoreAway: it does not answer.
        """


class EventLog(Protocol):
    """Keeps events, each once, and counts them."""

    def append(self, events: Sequence[Event]) -> int:
        """Keep the events whose ids are new; tell how many they were. All of them, or none.

        Raises:
            StoreAway: they may not be kept; send them again.
        """

    def enqueue(self, events: Sequence[Event]) -> None:
        """Keep the events as `append` does, but quickly: some count only after `count`.

        Raises:
            StoreAway: they may not be kept; send them again.
        """

    def count(self, worker: str, idle_s: float = 60.0) -> int:
        """Count some of what was enqueued; tell how many events, 0 when there are no more.

        What another worker took and did not finish within `idle_s` is counted, too.

        Raises:
            StoreAway: it does not answer.
        """

    def events(self) -> Iterator[Event]:
        """Everything that is kept, in no order.

        Raises:
            StoreAway: it does not answer.
        """

    def cells(self) -> Iterator[tuple[Cell, Counts]]:
        """Everything counted, in no order.

        Raises:
            StoreAway: it does not answer.
        """

    def purge(self, user: str) -> int:
        """Erase the suggestions of a user, and what they counted for; tell how many they were.

        Raises:
            StoreAway: not all may be erased; call it again.
        """


class Store(FlagStore, EventLog, DecisionLog, Protocol):
    """Keeps all of them."""

    def close(self) -> None:
        """Let go of what it holds."""
