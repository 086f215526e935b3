"""The lines that the gateway writes are read; others are refused with what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ab.errors import InvalidEvent
from ab.events import MAX_LINE, Event, Kind, from_json, read_line, to_json
from server.event_file import line_of
from server.event_store import stored
from server.telemetry import EventKind, Part, Suggested, SuggestionEvent

NOW = 1_795_262_400.0
ABOUT = Suggested("sug-1", "native", "k1", "ada", "python", "tabwright-7m", "engine")


def test_an_accepted_event_of_the_gateway_is_read() -> None:
    told = SuggestionEvent(
        "w1-2", EventKind.ACCEPTED, NOW, ABOUT, "native", part=Part.LINE, chars=14
    )
    assert read_line(line_of(told), NOW) == Event(
        "k1/w1-2", Kind.ACCEPTED, NOW, "sug-1", "ada", "tabwright-7m", "python", "native",
        chars=14, part="line", source="engine",
    )  # fmt: skip


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_the_gateway_is_read_and_kept(kind: EventKind) -> None:
    told = SuggestionEvent(
        "w1-3", kind, NOW, Suggested("sug-2", key="k1", variants="!model=n%20w&lines=one"),
        total_ms=81.5, explicit=True, outcome="busy", wait_ms=1.5, first_token_ms=7, shown_ms=900,
        part=Part.WORD, chars=3, after_s=30, retained_share=0.5,
    )  # fmt: skip
    event = read_line(line_of(told), NOW)
    assert event == stored(told), "the store and the file of events say the same"
    assert (event.kind, event.user) == (Kind(kind.value), "k1")
    assert (event.total_ms, event.explicit, event.retained_share) == (81.5, True, 0.5)
    assert from_json(to_json(event)) == event


def line(**parts: Any) -> str:
    given = {"id": "e", "kind": "shown", "at": NOW, "suggestion": {"id": "s", "user": "ada"}}
    return json.dumps(given | parts)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "JSON"),
        ("[]", "JSON"),
        ("[" * 10_000, "JSON"),
        ("x" * (MAX_LINE + 1), "lines of up to"),
        (line(kind="other"), "other"),
        (line(at=NOW + 3600), "future"),
        (line(at=float("nan")), "number"),
        (line(at=True), "number"),
        (line(at="today"), "number"),
        (line(id=7), "ids as text"),
        (line(suggestion={"user": "ada"}), "JSON"),
        (line(suggestion={"id": ""}), "ids as text"),
        (line(suggestion={"id": "s", "user": "a" * 201}), "200"),
        (line(suggestion={"id": "s", "user": "a\u0000"}), "printable"),
        (line(retained_share=1.5), "0 to 1"),
        (line(chars=-1), "0 to"),
    ],
)
def test_what_is_no_event_is_refused(text: str, word: str) -> None:
    with pytest.raises(InvalidEvent, match=word):
        read_line(text, NOW)


def test_an_editors_clock_may_be_a_little_ahead() -> None:
    assert read_line(line(at=NOW + 200), NOW).at == NOW + 200
