"""Reports are completed with what is known, counted once, and kept apart by API key."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from server.caller import Caller
from server.fingerprint import fingerprint, fingerprints, landing
from server.inflight import Running, Source
from server.metrics import Metrics, RequestOutcome
from server.suggestions import Receipt, Suggestions
from server.telemetry import EventKind, EventsFull, Suggested, SuggestionEvent
from tabwright.request import CompletionRequest

pytestmark = pytest.mark.anyio  # a request has a scope, which wants an event loop

ADA = Caller("key-1", "ada")


class Notes:
    """Takes events while there is room."""

    def __init__(self) -> None:
        self.events: list[SuggestionEvent] = []
        self.room = True

    def record(self, event: SuggestionEvent) -> bool:
        if self.room:
            self.events.append(event)
        return self.room

    async def keep(self, events: Sequence[SuggestionEvent]) -> None:
        if not self.room:
            raise EventsFull("no room")
        self.events += events


def parts() -> tuple[Suggestions, Notes, Metrics]:
    notes, metrics = Notes(), Metrics("tiny")
    return Suggestions(notes, metrics, "tiny"), notes, metrics


def ran(name: str = "sug-1", *, blank: bool = False, accepted: str = "") -> Running:
    running = Running(name, "native", caller=ADA, source=Source.MEMORY, language="python")
    running.blank = blank
    if accepted:
        running.fingerprints = {fingerprint("x = ", "", accepted): len(accepted)}
    return running


def report(name: str = "e1", suggestion: str = "sug-1") -> SuggestionEvent:
    return SuggestionEvent(name, EventKind.ACCEPTED, 1.0, Suggested(suggestion), "native")


async def said(suggestions: Suggestions, event: SuggestionEvent, caller: Caller) -> Receipt:
    """Report one event; what was done with it."""
    (receipt,) = (await suggestions.report([event], caller)).elements()
    return receipt


def count(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_a_request_is_an_event_and_an_empty_answer_another() -> None:
    suggestions, notes, _ = parts()
    suggestions.finished(ran(), RequestOutcome.OK)
    suggestions.finished(ran("sug-2", blank=True), RequestOutcome.OK)
    suggestions.finished(ran("sug-3", blank=True), RequestOutcome.CANCELLED)
    told = [(event.suggestion.id, event.kind.value, event.outcome) for event in notes.events]
    assert told == [
        ("sug-1", "requested", "ok"),
        ("sug-2", "requested", "ok"),
        ("sug-2", "returned_empty", None),
        ("sug-3", "requested", "cancelled"),
    ]
    assert len({event.id for event in notes.events}) == 4


async def test_a_report_is_completed_with_what_is_known() -> None:
    suggestions, notes, metrics = parts()
    suggestions.finished(ran(), RequestOutcome.OK)
    assert await said(suggestions, report(), Caller("key-1", "somebody else")) is Receipt.COUNTED
    event = notes.events[-1]
    assert event.joined
    known = Suggested("sug-1", "native", "key-1", "ada", "python", "tiny", "memory")
    assert event.suggestion == known
    name = "tabwright_editor_events_total"
    assert count(metrics, name, kind="accepted", protocol="native") == 1
    assert count(metrics, "tabwright_editor_events_unjoined_total", protocol="native") == 0


async def test_a_report_that_comes_again_is_counted_once() -> None:
    suggestions, notes, metrics = parts()
    assert await said(suggestions, report(), ADA) is Receipt.UNKNOWN
    assert await said(suggestions, report(), ADA) is Receipt.REPEATED
    assert await said(suggestions, report(), Caller("key-2")) is Receipt.UNKNOWN
    assert len(notes.events) == 2
    name = "tabwright_editor_events_total"
    assert count(metrics, name, kind="accepted", protocol="native") == 2


async def test_nobody_reports_on_the_suggestions_of_another_key() -> None:
    suggestions, notes, metrics = parts()
    suggestions.finished(ran(), RequestOutcome.OK)
    assert await said(suggestions, report(), Caller("key-2", "eve")) is Receipt.UNKNOWN
    event = notes.events[-1]
    assert not event.joined
    assert (event.suggestion.key, event.suggestion.user) == ("key-2", "eve")
    assert event.suggestion.language == event.suggestion.source == ""
    assert count(metrics, "tabwright_editor_events_unjoined_total", protocol="native") == 1


async def test_a_report_that_was_refused_may_come_again() -> None:
    suggestions, notes, metrics = parts()
    notes.room = False
    with pytest.raises(EventsFull):
        await said(suggestions, report(), ADA)
    assert count(metrics, "tabwright_events_dropped_total") == 1
    name = "tabwright_editor_events_total"
    assert count(metrics, name, kind="accepted", protocol="native") == 0
    notes.room = True
    assert await said(suggestions, report(), ADA) is Receipt.UNKNOWN


async def test_a_suggestion_is_found_by_what_was_accepted_of_it_by_its_own_key() -> None:
    suggestions, _, _ = parts()
    suggestions.finished(ran(accepted="len(items)"), RequestOutcome.CANCELLED)
    assert suggestions.find(ADA, "x = l", "", "en(items)") == "sug-1"
    assert suggestions.find(ADA, "x = ", "", "len(items") is None
    assert suggestions.find(Caller("key-2", "ada"), "x = ", "", "len(items)") is None
    suggestions.finished(ran("sug-2", accepted="len(items)"), RequestOutcome.OK)
    assert suggestions.find(ADA, "x = ", "", "len(items)") == "sug-2"


async def test_memory_is_bounded_by_forgetting_the_oldest() -> None:
    suggestions, notes, _ = parts()
    for number in range(8192 + 1):
        suggestions.finished(ran(f"sug-{number}"), RequestOutcome.OK)
    notes.events.clear()
    assert await said(suggestions, report("a", "sug-0"), ADA) is Receipt.UNKNOWN
    assert await said(suggestions, report("b", "sug-1"), ADA) is Receipt.COUNTED


def at(name: str, prefix: str, answer: str, caller: Caller = ADA) -> Running:
    """A request that ended with `answer` to a cursor after `prefix`."""
    request = CompletionRequest(prefix, "\n")
    running = Running(name, "ollama", caller=caller, language="python")
    running.fingerprints = fingerprints(request, [answer] if answer else [])
    running.landing = landing(request)
    return running


def inferred(notes: Notes) -> list[tuple[str, int | None]]:
    return [(e.suggestion.id, e.chars) for e in notes.events if e.kind is EventKind.INFERRED]


async def test_the_next_request_tells_that_a_suggestion_was_accepted_once() -> None:
    suggestions, notes, _ = parts()
    suggestions.finished(at("sug-1", "for i in ", "range(len(items)):\n"), RequestOutcome.OK)
    for name in ("sug-2", "sug-3"):
        taken = at(name, "for i in range(len(items)):\n    ", "print(i)")
        suggestions.finished(taken, RequestOutcome.OK)
    assert inferred(notes) == [("sug-1", 19)]
    assert not [event for event in notes.events if event.kind is EventKind.ACCEPTED]


async def test_typing_what_was_suggested_is_not_accepting_it() -> None:
    suggestions, notes, _ = parts()
    text = "range(len(items)):"
    for place in range(len(text) + 1):
        typed = at(f"sug-{place}", "for i in " + text[:place], text[place:])
        suggestions.finished(typed, RequestOutcome.OK)
    assert inferred(notes) == []


@pytest.mark.parametrize(
    ("prefix", "caller"),
    [
        ("for i in range(len(other)):", ADA),
        ("for i in range(len(items)):", Caller("key-1", "bob")),
        ("for i in range(len(items)):", Caller("key-2", "ada")),
    ],
)
async def test_another_text_or_another_person_tells_nothing(prefix: str, caller: Caller) -> None:
    suggestions, notes, _ = parts()
    suggestions.finished(at("sug-1", "for i in ", "range(len(items)):"), RequestOutcome.OK)
    suggestions.finished(at("sug-2", prefix, "x", caller), RequestOutcome.OK)
    assert inferred(notes) == []
