"""The suggestions of the last while, and what editors say became of them.

Every request that ran is one suggestion. For some thousands of them the gateway remembers whose it
was and where it came from, and fingerprints of what may have been accepted; no text. A report is
completed with that and recorded once, however often it arrives. Read `Suggestions.report` first.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Generic, TypeVar

from server.caller import Caller
from server.fingerprint import fingerprint
from server.inflight import Running
from server.metrics import Metrics, RequestOutcome
from server.model_choice import variants_text
from server.telemetry import EventKind, EventsFull, Suggested, SuggestionEvent, Telemetry
from server.wire import latency_ms

logger = logging.getLogger(__name__)

_SUGGESTIONS = 8192  # an hour of forty people who type
_FINGERPRINTS = 65_536
_EVENT_IDS = 65_536

K = TypeVar("K")
V = TypeVar("V")


class Receipt(StrEnum):
    """What was done with a report. UNKNOWN: kept, but nothing is known about the suggestion."""

    COUNTED = "counted"
    UNKNOWN = "unknown"
    REPEATED = "repeated"


class Suggestions:
    """Knows recent suggestions and records events."""

    def __init__(self, telemetry: Telemetry, metrics: Metrics, model: str) -> None:
        """Hand events to `telemetry`; `model` is the default one."""
        self._telemetry = telemetry
        self._metrics = metrics
        self._model = model
        # By owner, so that nobody speaks for the suggestions of another.
        self._known: _Window[tuple[str, str], Suggested] = _Window(_SUGGESTIONS)
        self._marks: _Window[tuple[str, int], str] = _Window(_FINGERPRINTS)
        self._seen: _Window[tuple[str, str], None] = _Window(_EVENT_IDS)

    def finished(self, running: Running, outcome: RequestOutcome) -> None:
        """Remember a request that has ended, and record that it was made."""
        suggested = Suggested(
            running.request_id,
            running.protocol,
            running.caller.key,
            running.caller.user,
            running.language,
            running.model or self._model,
            running.source,
            variants_text(running.variants),
        )
        owner = running.caller.owner
        self._known.put((owner, suggested.id), suggested)
        for mark in running.fingerprints:
            self._marks.put((owner, mark), suggested.id)
        took = latency_ms(running)
        asked = SuggestionEvent(
            f"{suggested.id}/{EventKind.REQUESTED}",
            EventKind.REQUESTED,
            time.time(),
            suggested,
            outcome=outcome,
            wait_ms=took["wait"],
            first_token_ms=took["first_token"],
            total_ms=took["total"],
        )
        self._record(asked)
        if outcome is RequestOutcome.OK and running.blank:
            kind = EventKind.RETURNED_EMPTY
            self._record(SuggestionEvent(f"{suggested.id}/{kind}", kind, asked.at, suggested))

    async def report(self, events: Sequence[SuggestionEvent], caller: Caller) -> Counter[Receipt]:
        """Record what an editor says; of `event.suggestion` it gives the id only.

        Returns when the events are kept, and says how many had which receipt.

        Raises:
            EventsFull: they are not; all of them may come again.
        """
        fresh: dict[str, SuggestionEvent] = {}
        for event in events:
            if (caller.owner, event.id) not in self._seen:
                fresh.setdefault(event.id, self._completed(event, caller))
        try:
            await self._telemetry.keep(list(fresh.values()))
        except EventsFull:
            self._metrics.event_dropped(len(fresh))
            raise
        receipts = Counter({Receipt.REPEATED: len(events) - len(fresh)})
        for event in fresh.values():
            self._seen.put((caller.owner, event.id), None)
            self._metrics.editor_event(event.kind, event.reported_by)
            if not event.joined:
                self._metrics.unjoined(event.reported_by)
            receipts[Receipt.COUNTED if event.joined else Receipt.UNKNOWN] += 1
        return receipts

    def find(self, caller: Caller, prefix: str, suffix: str, accepted: str) -> str | None:
        """The latest suggestion to this caller from which `accepted` may come."""
        return self._marks.get((caller.owner, fingerprint(prefix, suffix, accepted)))

    def _completed(self, event: SuggestionEvent, caller: Caller) -> SuggestionEvent:
        known = self._known.get((caller.owner, event.suggestion.id))
        told = known or replace(event.suggestion, key=caller.key, user=caller.user)
        logger.debug(
            "editor event",
            extra={
                "kind": event.kind.value,
                "suggestion": told.id,
                "reported_by": event.reported_by,
                "joined": known is not None,
            },
        )
        return replace(event, suggestion=told, joined=known is not None)

    def _record(self, event: SuggestionEvent) -> bool:
        taken = self._telemetry.record(event)
        if not taken:
            self._metrics.event_dropped()
        return taken


class _Window(Generic[K, V]):
    """The latest entries of a mapping."""

    def __init__(self, size: int) -> None:
        self._size = size
        # Not a dict: the way to its oldest entry grows long when many older ones were removed.
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


def event_id() -> str:
    """A new event's id, for editors that give none."""
    return uuid.uuid4().hex
