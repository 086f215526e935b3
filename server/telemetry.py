"""What became of suggestions, as events for whoever keeps them: the seam, and its bounded queue.

An event says who was suggested what kind of thing, where it came from and what the editor reports
of it; nothing of anybody's code is in it. The queue never makes a completion wait: it takes an
event at once or says that it is full. Who reports events waits until they are kept. A task drains
it into a store (`server.event_file`, `server.event_store`), which may be away for a while. Where
events come from: `server.suggestions`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import anyio
import anyio.to_thread

from tabwright.errors import Busy

logger = logging.getLogger(__name__)

_QUEUE = 16_384  # about ten megabytes; a store that is away has so long to come back
_BATCH = 2_000
_RETRY_S = 1.0


class EventKind(StrEnum):
    """What happened to a suggestion.

    The first two the gateway knows, the last one it infers, the others editors report.
    """

    REQUESTED = "requested"
    RETURNED_EMPTY = "returned_empty"
    SHOWN = "shown"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    RETAINED = "retained"
    INFERRED = "inferred"


REPORTED = (EventKind.SHOWN, EventKind.ACCEPTED, EventKind.DISMISSED, EventKind.RETAINED)


class Part(StrEnum):
    """How much of a suggestion was accepted."""

    FULL = "full"
    WORD = "word"
    LINE = "line"


class EventsFull(Busy):
    """No event can be kept now; the same ones may come again, and count once."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """What is known about a suggestion. key, user: whose it is; empty: nobody is named.

    model: what made it. variants: of the flags that it was made under, like `model=new&lines=one`;
    `!` before a flag marks a user's override.
    """

    id: str
    protocol: str = ""
    key: str = ""
    user: str = ""
    language: str = ""
    model: str = ""
    source: str = ""
    variants: str = ""


@dataclass(frozen=True, slots=True)
class SuggestionEvent:
    """One event. What does not belong to its kind is None.

    id: the same event has the same id, however often it arrives. at: seconds since 1970.
    reported_by: the protocol that told, empty for what the gateway itself knows. joined: whether
    the gateway knows the suggestion. outcome and the times in milliseconds since the request was
    read: of REQUESTED. shown_ms: how long it had been shown. part, chars: of ACCEPTED. explicit:
    whether it was dismissed by a key, not by typing on. retained_share: how much of it still stands
    after_s seconds later, 0 to 1.
    """

    id: str
    kind: EventKind
    at: float
    suggestion: Suggested
    reported_by: str = ""
    joined: bool = True
    choice: int | None = None
    outcome: str | None = None
    wait_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    shown_ms: float | None = None
    part: Part | None = None
    chars: int | None = None
    explicit: bool | None = None
    after_s: float | None = None
    retained_share: float | None = None


class Telemetry(Protocol):
    """Takes events."""

    def record(self, event: SuggestionEvent) -> bool:
        """Take one event without waiting; False: there was no room for it."""

    async def keep(self, events: Sequence[SuggestionEvent]) -> None:
        """Take events and return when they are kept.

        Raises:
            EventsFull: not all of them are.
        """


class EventStore(Protocol):
    """Keeps events."""

    def append(self, events: Sequence[SuggestionEvent]) -> None:
        """Keep these; called in a thread, one call at a time.

        Raises:
            OSError: they are not kept, or not all of them; they will come again.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class Uncollected:
    """Takes every event and keeps none."""

    def record(self, event: SuggestionEvent) -> bool:
        """Take one event."""
        del event
        return True

    async def keep(self, events: Sequence[SuggestionEvent]) -> None:
        """Take events."""


class _Ticket:
    """Waits until the last of some events is kept, or cannot be."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._over = anyio.Event()
        self.reason = ""

    def kept(self) -> None:
        self._left -= 1
        if not self._left:
            self._over.set()

    def failed(self, reason: str) -> None:
        self.reason = reason
        self._over.set()

    async def wait(self) -> None:
        await self._over.wait()


_Item = tuple[SuggestionEvent, _Ticket | None]


class EventQueue:
    """Events on their way to a store."""

    def __init__(self, room: int = _QUEUE) -> None:
        """Hold at most `room` events."""
        self._send, self._receive = anyio.create_memory_object_stream[_Item](room)
        self._room = room
        self._away = ""

    def record(self, event: SuggestionEvent) -> bool:
        """Take one event without waiting; False: the queue is full."""
        try:
            self._send.send_nowait((event, None))
        except anyio.WouldBlock:
            return False
        return True

    async def keep(self, events: Sequence[SuggestionEvent]) -> None:
        """Take events and return when the store has them."""
        if not events:
            return
        if self._send.statistics().current_buffer_used + len(events) > self._room:
            raise EventsFull("events cannot be stored fast enough; send all of them again")
        if self._away:
            raise _refused(self._away)
        ticket = _Ticket(len(events))
        for event in events:
            self._send.send_nowait((event, ticket))
        await ticket.wait()
        if ticket.reason:
            raise _refused(ticket.reason)

    async def drain(self, store: EventStore) -> None:
        """Hand everything to `store` until cancelled, and what is left then; close the store."""
        batch: list[_Item] = []
        try:
            while True:
                batch = [await self._receive.receive(), *self._waiting()]
                await self._keep(store, batch)
                batch = []
        finally:
            self._last(store, [*batch, *self._waiting(self._room)])

    async def _keep(self, store: EventStore, items: list[_Item]) -> None:
        """Store events, again and again while the store is away; who waits is told at once."""
        while True:
            try:
                await anyio.to_thread.run_sync(store.append, [event for event, _ in items])
                if self._away:
                    logger.info("events are stored again")
                self._away = ""
                _tell(items)
                return
            except OSError as error:
                reason = error.strerror or str(error)
                if not self._away:
                    logger.error("events wait for their store", extra={"reason": reason})
                    items += self._waiting(self._room)  # none that somebody waits for come later
                    _tell(items, reason)
                self._away = reason
            await anyio.sleep(_RETRY_S)

    def _waiting(self, most: int = _BATCH) -> list[_Item]:
        found: list[_Item] = []
        try:
            while len(found) < most:
                found.append(self._receive.receive_nowait())
        except anyio.WouldBlock:
            pass
        return found

    def _last(self, store: EventStore, events: Sequence[_Item]) -> None:
        try:
            if events:
                store.append([event for event, _ in events])
            _tell(events)
        except OSError as error:
            logger.error("events are lost", extra={"events": len(events), "reason": error.strerror})
            _tell(events, str(error.strerror))
        finally:
            store.close()
            self._send.close()
            self._receive.close()


def _tell(items: Sequence[_Item], reason: str = "") -> None:
    for _, ticket in items:
        if ticket is not None:
            if reason:
                ticket.failed(reason)
            else:
                ticket.kept()


def _refused(reason: str) -> EventsFull:
    told = f"events cannot be stored now ({reason}); send all of them again"
    return EventsFull(told, retry_after_s=5.0)
