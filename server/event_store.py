"""Events on their way into a store of experiments, by way of the disk while it is away.

    queue → store            what is acknowledged is in the store
    queue → spool → store    or on the disk, while the store does not answer

Stores that count later (`EventLog.count`) are made to count here, by every gateway that has time.
Read `StoredEvents.append` and `StoredEvents.follow`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence

import anyio
import anyio.to_thread

from ab.errors import StoreAway
from ab.events import FAILURES, Event, Kind, event_id
from ab.spool import Spool
from ab.store import Store
from ab.stores.registry import open_store
from server.telemetry import SuggestionEvent
from tabwright.errors import TabwrightError

logger = logging.getLogger(__name__)

_LOOK_S = 0.5


class StoredEvents:
    """An `EventStore` in front of a store of experiments."""

    def __init__(self, address: str, spool: Spool) -> None:
        """Keep events at `address`, and in `spool` while nobody answers there."""
        self._address = address
        self._spool = spool
        self._store: Store | None = None
        self._behind: Store | None = None
        self._worker = uuid.uuid4().hex
        self._away = False

    def append(self, events: Sequence[SuggestionEvent]) -> None:
        """Keep events, in the store or on the disk.

        Raises:
            OSError: the store is away and the disk is full.
        """
        told = [stored(event) for event in events]
        if not self._away:
            try:
                self._store = self._store or open_store(self._address)
                self._store.enqueue(told)
                return
            except TabwrightError as error:
                logger.error("the store is away, events wait on the disk: %s", error)
                self._away = True
        self._spool.write(told)

    def waiting(self) -> int:
        """Bytes of events that wait on the disk."""
        return len(self._spool)

    async def follow(self) -> None:
        """Move what waits on the disk into the store, and have it counted, until cancelled."""
        try:
            while True:
                if not await anyio.to_thread.run_sync(self._catch_up):
                    await anyio.sleep(_LOOK_S)
        finally:
            if self._behind is not None:
                self._behind.close()

    def close(self) -> None:
        """Let go of the store."""
        self._spool.close()
        if self._store is not None:
            self._store.close()

    def _catch_up(self) -> int:
        """Do a part of what is left to do; tell how many events that were."""
        try:
            self._behind = self._behind or open_store(self._address)
            if self._away or self._spool.left():
                self._behind.stamp()  # it answers
                moved = self._spool.empty(self._behind.enqueue)
                if self._away:
                    self._away = False
                    logger.info("the store is back", extra={"events": moved})
            return self._behind.count(self._worker)
        except StoreAway:
            return 0
        except TabwrightError as error:
            logger.error("events cannot be moved into the store: %s", error)
        return 0


def stored(event: SuggestionEvent) -> Event:
    """An event as experiments see it; the same as reading its line (`ab.events.read_line`)."""
    about = event.suggestion
    return Event(
        id=event_id(event.id, about.key, event.reported_by),
        kind=Kind(event.kind.value),
        at=event.at,
        suggestion=about.id,
        user=about.user or about.key,
        variant=about.model,
        language=about.language,
        editor=about.protocol,
        arms=about.variants,
        chars=event.chars or 0,
        part=event.part or "",
        failed=event.outcome in FAILURES,
        source=about.source,
        wait_ms=event.wait_ms,
        first_token_ms=event.first_token_ms,
        total_ms=event.total_ms,
        shown_ms=event.shown_ms,
        explicit=event.explicit,
        after_s=event.after_s,
        retained_share=event.retained_share,
    )
