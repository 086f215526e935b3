"""Requests that share an answer: what memory serves, and who frees the slot. Real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, RawClient, complete, live_gateway

SLOW = {"answer": "total = total + items[i]\n" * 100, "token_delay_s": 0.005}
ASKED: dict[str, Any] = {"prompt": "for i in", "suffix": "", "max_tokens": 400, "temperature": 0}
STREAM = ASKED | {"stream": True}
OFF = {"X-Tabwright-Typeahead": "off"}


@pytest.fixture(scope="module")
def quick(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": "range(10):\n    print(i)\n"}) as live:
        yield live


@pytest.fixture
def slow(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    """Two seconds an answer; made anew, so that nothing is remembered."""
    with live_gateway(tiny, options=SLOW, max_running=4, drain_s=0.1) as live:
        yield live


def ask(live: LiveGateway, prefix: str, **headers: str) -> tuple[str, str]:
    body = ASKED | {"prompt": prefix}
    answer = httpx.post(f"{live.url}/v1/completions", json=body, headers=headers)
    return answer.json()["choices"][0]["text"], answer.headers["x-tabwright-source"]


def streams(live: LiveGateway) -> int:
    return live.engine.stats().running


def test_typing_along_needs_no_engine_whatever_the_protocol(quick: LiveGateway) -> None:
    whole, source = ask(quick, "one: ")
    assert source == "engine"
    generated = quick.engine.stats().generated_tokens
    for typed in range(len(whole) - 1):
        assert ask(quick, "one: " + whole[:typed]) == (whole[typed:], "memory")
    with complete(quick.port, body=STREAM | {"prompt": "one: r"}) as client:
        client.read_until(rb"\[DONE\]")
        assert "".join(e["choices"][0]["text"] for e in client.events()) == whole[1:]
        assert b"x-tabwright-source: memory" in client.received
    assert quick.engine.stats().generated_tokens == generated
    assert quick.counted("tabwright_suggestions_total", source="memory") == len(whole)


def test_it_can_be_turned_off_by_header_and_by_setting(
    quick: LiveGateway, tiny: ModelArtifact
) -> None:
    ask(quick, "two: ")
    assert ask(quick, "two: ")[1] == "memory"
    assert ask(quick, "two: ", **OFF)[1] == "engine"
    with live_gateway(tiny, typeahead_mb=0) as live:
        assert [ask(live, "x: ")[1] for _ in range(2)] == ["engine", "engine"]


def test_people_behind_one_gateway_are_kept_apart(quick: LiveGateway) -> None:
    ask(quick, "three: ", **{"X-Tabwright-User": "ann"})
    assert ask(quick, "three: ", **{"X-Tabwright-User": "bob"})[1] == "engine"
    assert ask(quick, "three: ", **{"X-Tabwright-User": "ann"})[1] == "memory"


def test_several_sampled_choices_are_several_generations(quick: LiveGateway) -> None:
    body = ASKED | {"temperature": 0.2, "n": 3}
    counts = [quick.engine.stats().generated_tokens]
    for _ in range(2):
        answer = httpx.post(f"{quick.url}/v1/completions", json=body).json()
        assert len({choice["text"] for choice in answer["choices"]}) == 3
        counts.append(quick.engine.stats().generated_tokens)
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


def test_equal_requests_take_one_slot_until_the_last_one_leaves(slow: LiveGateway) -> None:
    clients = [complete(slow.port, body=STREAM) for _ in range(3)]
    for client in clients:
        client.read_until(rb"data: .*\n\n")
    assert streams(slow) == 1
    generated = slow.engine.stats().generated_tokens
    for client in clients[:2]:
        client.close()
    slow.wait(lambda: slow.cancels("disconnect") == 2, "two are gone")
    assert slow.wasted("disconnect") == 0
    slow.wait(lambda: slow.engine.stats().generated_tokens > generated + 3, "it goes on")
    clients[2].close()
    slow.wait_free()
    assert slow.cancels("disconnect") == 3
    assert slow.wasted("disconnect") > 3


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_the_only_listener_frees_the_slot_at_once(slow: LiveGateway, stream: bool) -> None:
    with complete(slow.port, body=ASKED | {"stream": stream}):
        slow.wait(lambda: slow.engine.stats().generated_tokens > 3, "tokens flow")
    slow.wait_free()
    assert slow.engine.stats().generated_tokens < 300
    assert slow.wasted("disconnect") >= 1


def test_a_newer_keystroke_of_the_session_takes_the_running_answer_over(
    slow: LiveGateway,
) -> None:
    session = {"X-Tabwright-Session": "editor"}
    with complete(slow.port, body=STREAM, headers=session) as older:
        older.read_until(rb"data: .*\n\n")
        newer_body = STREAM | {"prompt": ASKED["prompt"] + "total"}
        with complete(slow.port, body=newer_body, headers=session) as newer:
            older.read_until(rb'"superseded"')
            newer.read_until(rb"data: .*\n\n")
            assert b"x-tabwright-source: joined" in newer.received
            assert streams(slow) == 1
        slow.wait_free()
    assert slow.cancels("superseded") == 1
    assert slow.wasted("superseded") == 0
    assert slow.wasted("disconnect") >= 1


def test_a_newer_keystroke_that_differs_ends_the_older_answer(slow: LiveGateway) -> None:
    session = {"X-Tabwright-Session": "editor"}
    with complete(slow.port, body=STREAM, headers=session) as older:
        older.read_until(rb"data: .*\n\n")
        other = STREAM | {"prompt": ASKED["prompt"] + "x"}
        with complete(slow.port, body=other, headers=session) as newer:
            older.read_until(rb'"superseded"')
            newer.read_until(rb"data: .*\n\n")
            slow.wait(lambda: streams(slow) == 1, "one slot")
            assert slow.wasted("superseded") >= 1
        slow.wait_free()


def test_a_full_line_is_no_reason_to_refuse_what_memory_has(tiny: ModelArtifact) -> None:
    options = SLOW | {"answer": "range(10)"}
    with live_gateway(tiny, options=options, max_running=1, max_waiting=0, drain_s=0.1) as live:
        ask(live, "x")
        with complete(live.port, body={"prompt": "a", "max_tokens": 9, "temperature": 0}):
            live.wait(lambda: streams(live) == 1, "the slot is taken")
            assert ask(live, "xra") == ("nge(10)", "memory")


def test_a_drain_ends_shared_answers_and_guesses(tiny: ModelArtifact) -> None:
    options = SLOW | {"answer": "a = 1\n" * 20}
    with live_gateway(tiny, options=options, speculate=True, drain_s=0.1) as live:
        ask(live, "x")
        live.wait(lambda: streams(live) == 1, "what follows is guessed")
        clients = [RawClient(live.port, "/v1/completions", STREAM) for _ in range(2)]
        for client in clients:
            client.read_until(rb"data: .*\n\n")
        assert live.wasted("speculation") >= 1
    for client in clients:
        client.close()
