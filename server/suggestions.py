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
from typing import Generic, NamedTuple, TypeVar

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
_JUMP_CHARS = 8  # who types needs a request or two for so many; who accepts does not
_INFER_WITHIN_S = 120.0

K = TypeVar("K")
V = TypeVar("V")


class Receipt(StrEnum):
    """What was done with a report. UNKNOWN: kept, but nothing is known about the suggestion."""

    COUNTED = "counted"
    UNKNOWN = "unknown"
    REPEATED = "repeated"


class _Mark(NamedTuple):
    """What ends at a fingerprint: so many characters of a suggestion, made then."""

    suggestion: str
    chars: int
    at: float


class Suggestions:
    """Knows recent suggestions and records events."""

    def __init__(self, telemetry: Telemetry, metrics: Metrics, model: str) -> None:
        """Hand events to `telemetry`; `model` is the default one."""
        self._telemetry = telemetry
        self._metrics = metrics
        self._model = model
        # By owner, so that nobody speaks for the suggestions of another.
        self._known: _Window[tuple[str, str], Suggested] = _Window(_SUGGESTIONS)
        self._marks: _Window[tuple[str, int], _Mark] = _Window(_FINGERPRINTS)
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
        now = time.time()
        self._infer(owner, running, now)
        for mark, chars in running.fingerprints.items():
            self._marks.put((owner, mark), _Mark(suggested.id, chars, now))
        took = latency_ms(running)
        asked = SuggestionEvent(
            f"{suggested.id}/{EventKind.REQUESTED}",
            EventKind.REQUESTED,
            now,
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
        mark = self._marks.get((caller.owner, fingerprint(prefix, suffix, accepted)))
        return mark.suggestion if mark else None

    def _infer(self, owner: str, running: Running, now: float) -> None:
        """Record what was accepted, if this request stands at the end of an earlier suggestion.

        Only a jump counts: who types what was suggested asks again on the way, and what is left to
        jump over by then is short.
        """
        if running.landing is None:
            return
        mark = self._marks.get((owner, running.landing))
        if mark is None or mark.chars < _JUMP_CHARS or now - mark.at > _INFER_WITHIN_S:
            return
        known = self._known.get((owner, mark.suggestion))
        if known is None or known.user != running.caller.user:
            return
        kind = EventKind.INFERRED
        name = f"{mark.suggestion}/{kind}"
        if (owner, name) not in self._seen:
            self._seen.put((owner, name), None)
            self._record(SuggestionEvent(name, kind, now, known, chars=mark.chars))

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
