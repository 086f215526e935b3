"""Every way to abandon a request frees its slot and is counted with the tokens it wasted.

Real sockets, real uvicorn; nothing is shared between requests here, which is the subject of
`test_typeahead.py`. The figures in milliseconds come from `server.cancel_bench`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from server.nginx_front import nginx_in_front
from tabwright.artifact import ModelArtifact
from tests.fakes.http2_client import Http2Client
from tests.fakes.live_gateway import LiveGateway, RawClient, complete, live_gateway

SLOW = {"answer": "total = total + items[i]\n" * 100, "token_delay_s": 0.005}
SILENT = {"first_delay_s": 60.0}
LONG = {"prompt": "for i in", "suffix": "", "max_tokens": 400, "temperature": 0}
STREAM = LONG | {"stream": True}
TABBY = {"segments": {"prefix": "for i in", "suffix": ""}}


def running(live: LiveGateway, count: int = 1) -> bool:
    return live.engine.stats().running == count


@pytest.fixture(scope="module")
def slow(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    """Four slots; an answer takes two seconds."""
    settings: dict[str, Any] = {"max_running": 4, "typeahead_mb": 0, "editor_max_tokens": 400}
    with live_gateway(tiny, options=SLOW, **settings) as live:
        yield live


@pytest.fixture(scope="module")
def silent(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    """The first token takes a minute."""
    with live_gateway(tiny, options=SILENT, max_running=4, typeahead_mb=0) as live:
        yield live


class Counts:
    """How the counters of one reason moved since this was made."""

    def __init__(self, live: LiveGateway, reason: str) -> None:
        self._live, self._reason = live, reason
        self._before = (live.cancels(reason), live.wasted(reason))

    def cancels(self) -> float:
        return self._live.cancels(self._reason) - self._before[0]

    def wasted(self) -> float:
        return self._live.wasted(self._reason) - self._before[1]


@pytest.mark.parametrize("body", [LONG, STREAM, TABBY], ids=["whole", "stream", "tabby"])
def test_leaving_the_line_before_a_slot_is_free(tiny: ModelArtifact, body: dict[str, Any]) -> None:
    with live_gateway(tiny, options=SILENT, max_running=1, drain_s=0.1, typeahead_mb=0) as live:
        counts = Counts(live, "disconnect")
        with complete(live.port, body=LONG):
            live.wait(lambda: running(live), "one runs")
            admission = live.gateway.completer.admission
            with complete(live.port, body=body):
                live.wait(lambda: admission.waiting == 1, "one waits")
            live.wait(lambda: admission.waiting == 0, "the line is empty")
            assert running(live)
            live.wait(lambda: counts.cancels() == 1, "counted")
            assert counts.wasted() == 0
        live.wait_free()


def test_leaving_the_line_inside_the_engine(tiny: ModelArtifact) -> None:
    with live_gateway(
        tiny, options={**SILENT, "slots": 1}, max_running=4, drain_s=0.1, typeahead_mb=0
    ) as live:
        with complete(live.port, body=LONG):
            live.wait(lambda: running(live), "one runs")
            with complete(live.port, body=LONG):
                live.wait(lambda: live.engine.stats().waiting == 1, "one waits in the engine")
            live.wait(lambda: live.engine.stats().waiting == 0, "the engine's line is empty")
            assert running(live)
        live.wait_free()


@pytest.mark.parametrize("body", [LONG, STREAM, TABBY], ids=["whole", "stream", "tabby"])
def test_leaving_before_the_first_token(silent: LiveGateway, body: dict[str, Any]) -> None:
    counts = Counts(silent, "disconnect")
    with complete(silent.port, body=body):
        silent.wait(lambda: running(silent), "it runs")
    assert silent.wait_free() < 2
    assert (counts.cancels(), counts.wasted()) == (1, 0)


def test_leaving_in_the_middle_of_a_stream(slow: LiveGateway) -> None:
    counts = Counts(slow, "disconnect")
    with complete(slow.port, body=STREAM) as client:
        client.read_until(rb"(data: .*?){5}")
        seen = len(client.events())
    slow.wait_free()
    assert counts.cancels() == 1
    assert seen <= counts.wasted() < 200


@pytest.mark.parametrize("body", [LONG, TABBY], ids=["openai", "tabby"])
def test_leaving_while_a_whole_answer_is_made(slow: LiveGateway, body: dict[str, Any]) -> None:
    counts = Counts(slow, "disconnect")
    generated = slow.engine.stats().generated_tokens
    with complete(slow.port, body=body):
        slow.wait(lambda: slow.engine.stats().generated_tokens > generated + 3, "tokens flow")
    slow.wait_free()
    assert counts.cancels() == 1
    assert 3 <= counts.wasted() < 200


def test_a_reset_connection_counts_as_leaving(slow: LiveGateway) -> None:
    counts = Counts(slow, "disconnect")
    client = complete(slow.port, body=STREAM)
    client.read_until(rb"data: ")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    slow.wait_free()
    assert counts.cancels() == 1


def test_leaving_ends_all_choices_of_a_request(slow: LiveGateway) -> None:
    body = STREAM | {"n": 3, "temperature": 1, "seed": 1}
    with complete(slow.port, body=body):
        slow.wait(lambda: running(slow, 3), "three run")
    slow.wait_free()


class PlainMiddleware:
    """What a pure ASGI middleware does: it passes everything through its own callables."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def on_receive() -> Any:
            return await receive()

        async def on_send(message: Any) -> None:
            await send(message)

        await self._app(scope, on_receive, on_send)


@pytest.mark.parametrize("body", [LONG, STREAM, TABBY], ids=["whole", "stream", "tabby"])
def test_leaving_behind_an_asgi_middleware(tiny: ModelArtifact, body: dict[str, Any]) -> None:
    with live_gateway(
        tiny, options=SLOW, wrap=PlainMiddleware, drain_s=0.1, typeahead_mb=0
    ) as live:
        with complete(live.port, body=body):
            live.wait(lambda: running(live), "it runs")
        live.wait_free()
        assert live.cancels("disconnect") == 1


@pytest.fixture(scope="module")
def nginx(slow: LiveGateway) -> Iterator[int]:
    """A proxy in front of `slow`, on its own port."""
    with nginx_in_front(slow.port) as port:
        yield port


@pytest.fixture(scope="module")
def nginx_http2(slow: LiveGateway) -> Iterator[int]:
    """A proxy in front of `slow` that speaks HTTP/2 over TLS."""
    with nginx_in_front(slow.port, tls=True) as port:
        yield port


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("body", [LONG, STREAM, TABBY], ids=["whole", "stream", "tabby"])
def test_leaving_behind_nginx(slow: LiveGateway, nginx: int, body: dict[str, Any]) -> None:
    counts = Counts(slow, "disconnect")
    with complete(nginx, body=body) as client:
        slow.wait(lambda: running(slow), "it runs")
        if body is STREAM:
            client.read_until(rb"data: ")
    slow.wait_free()
    assert counts.cancels() == 1


@pytest.mark.needs("nginx")
def test_a_stream_arrives_piece_by_piece_through_nginx(slow: LiveGateway, nginx: int) -> None:
    with complete(nginx, body=STREAM) as client:
        client.read_until(rb"data: ")
        assert running(slow)
    slow.wait_free()


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("body", [LONG, STREAM, TABBY], ids=["whole", "stream", "tabby"])
def test_resetting_one_stream_of_an_http2_connection(
    slow: LiveGateway, nginx_http2: int, body: dict[str, Any]
) -> None:
    counts = Counts(slow, "disconnect")
    with Http2Client(nginx_http2) as client:
        other = client.post("/v1/completions", STREAM | {"prompt": "while"})
        victim = client.post("/v1/completions", body)
        slow.wait(lambda: running(slow, 2), "both run")
        client.read_until(other, b"data: ")
        client.reset(victim)
        slow.wait(lambda: running(slow), "one is left")
        assert counts.cancels() == 1
        assert b"[DONE]" in client.read_until(other, b"[DONE]")
    slow.wait_free()
    assert counts.cancels() == 1, "the other came to its end"


@pytest.mark.parametrize("body", [LONG, TABBY], ids=["openai", "tabby"])
def test_a_newer_request_of_the_session_ends_the_older(
    slow: LiveGateway, body: dict[str, Any]
) -> None:
    counts = Counts(slow, "superseded")
    session = {"X-Tabwright-Session": "editor-1"}
    with complete(slow.port, body=body, headers=session) as older:
        slow.wait(lambda: running(slow), "the older runs")
        with complete(slow.port, body=STREAM, headers=session) as newer:
            status, answer = older.read_answer()
            assert status == 499
            assert "superseded" in str(answer["error"])
            newer.read_until(rb"data: ")
            assert running(slow)
    slow.wait_free()
    assert counts.cancels() == 1


def test_a_superseded_stream_ends_with_an_error_event(slow: LiveGateway) -> None:
    counts = Counts(slow, "superseded")
    session = {"X-Tabwright-Session": "editor-2"}
    with complete(slow.port, body=STREAM, headers=session) as older:
        older.read_until(rb"data: ")
        with complete(slow.port, body=STREAM, headers=session):
            older.read_until(rb'"error".*0\r\n\r\n$')
            assert older.events()[-1]["error"]["code"] == "superseded"
            assert b"[DONE]" not in older.received
    slow.wait_free()
    assert counts.cancels() == 1
    assert counts.wasted() >= 1


def test_equal_requests_without_a_session_are_separate_jobs(slow: LiveGateway) -> None:
    clients = [complete(slow.port, body=STREAM) for _ in range(3)]
    slow.wait(lambda: running(slow, 3), "all three run")
    for client in clients:
        client.close()
    slow.wait_free()


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_request_is_cancelled_by_its_id(slow: LiveGateway, who: str) -> None:
    counts = Counts(slow, "requested")
    with complete(slow.port, body=STREAM, headers={"X-Request-Id": "mine-7"}) as client:
        client.read_until(rb"data: .*\n\n")
        request_id = "mine-7" if who == "client" else client.events()[0]["id"]
        path = f"{slow.url}/v1/completions/{request_id}/cancel"
        assert httpx.post(path).json() == {"cancelled": 1}
        client.read_until(rb'"error"')
        assert client.events()[-1]["error"]["code"] == "requested"
    slow.wait_free()
    assert counts.cancels() == 1
    assert httpx.post(path).json() == {"cancelled": 0}


def test_the_deadline_ends_a_request(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, options=SILENT, deadline_s=0.2, typeahead_mb=0) as live:
        with complete(live.port, body=LONG) as client:
            status, answer = client.read_answer()
        assert status == 503
        assert answer["error"]["code"] == "deadline_exceeded"
        live.wait_free()
        assert live.cancels("deadline") == 1


def test_draining_refuses_new_requests_and_lets_running_ones_finish(tiny: ModelArtifact) -> None:
    options = {"answer": "word " * 40, "token_delay_s": 0.02}
    with (
        live_gateway(tiny, options=options, typeahead_mb=0) as live,
        httpx.Client(base_url=live.url) as other,
    ):
        assert other.get("/readyz").status_code == 200
        with complete(live.port, body=LONG | {"max_tokens": 60}) as client:
            live.wait(lambda: running(live), "it runs")
            live.listener.handle_exit(15, None)
            refused = other.post("/v1/completions", json=LONG)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "shutting_down"
            assert other.get("/readyz").status_code == 503
            assert other.get("/livez").status_code == 200
            status, answer = client.read_answer()
            assert status == 200
            assert answer["choices"][0]["text"]


def test_the_drain_limit_ends_what_still_runs(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, options=SILENT, drain_s=0.2, typeahead_mb=0) as live:
        with complete(live.port, body=LONG) as client:
            live.wait(lambda: running(live), "it runs")
            live.listener.handle_exit(15, None)
            status, answer = client.read_answer()
        assert status == 503
        assert answer["error"]["code"] == "shutting_down"
        live.wait_free()
        assert live.cancels("shutdown") == 1


def test_many_random_leavings_leak_nothing(slow: LiveGateway) -> None:
    import random

    chance = random.Random(7)

    def developer(rounds: int) -> None:
        for _ in range(rounds):
            body = chance.choice([LONG, STREAM, TABBY])
            with RawClient(slow.port, "/v1/completions", body):
                time.sleep(chance.random() * 0.03)

    threads = [threading.Thread(target=developer, args=(12,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slow.wait_free()


def test_a_request_for_many_choices_leaves_room_for_others(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, options=SILENT, max_running=8, drain_s=0.1, typeahead_mb=0) as live:
        wide = STREAM | {"n": 100, "temperature": 1}
        with complete(live.port, body=wide), complete(live.port, body=wide):
            live.wait(lambda: running(live, 8), "each has four")
            admission = live.gateway.completer.admission
            assert (admission.running, admission.waiting) == (8, 0)
        live.wait_free()


def test_a_client_that_does_not_read_holds_no_slot(tiny: ModelArtifact) -> None:
    options = {"answer": "word " * 900}
    with live_gateway(
        tiny, options=options, write_timeout_s=0.3, drain_s=0.1, typeahead_mb=0
    ) as live:
        body = STREAM | {"n": 100, "temperature": 1, "max_tokens": 900}
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", live.port))
            raw = json.dumps(body).encode()
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n"
            client.sendall(head.encode() + raw)
            live.wait(lambda: live.cancels("disconnect") == 1, "it was given up")
            live.wait_free()
