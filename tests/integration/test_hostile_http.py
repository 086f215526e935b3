"""Hostile HTTP on raw sockets: smuggling, endless bodies, floods. Bounded in time, nothing leaked.

Wrong values in well-formed requests are in `test_bad_input.py`.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, RawClient, live_gateway

PATH = "/v1/completions"
BODY = b'{"prompt":"a","max_tokens":2}'
BOUND_S = 10.0


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, header_timeout_s=0.5, body_timeout_s=0.5, deadline_s=5) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_is_left_behind_and_others_are_served(live: LiveGateway) -> Iterator[None]:
    yield
    live.wait_free()
    with RawClient(live.port, PATH, BODY) as client:
        assert client.read_answer()[0] == 200


def talk(live: LiveGateway, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the parts; return all that comes until the server closes, within the bound."""
    received = b""
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", live.port), timeout=BOUND_S) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                if pause_s and select.select([connection], [], [], pause_s)[0]:
                    break
            while data := connection.recv(65536):
                received += data
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert time.perf_counter() - start < BOUND_S
    return received


def head(*fields: bytes, method: bytes = b"POST", path: bytes = PATH.encode()) -> bytes:
    lines = (method + b" " + path + b" HTTP/1.1", b"Host: x", b"Connection: close", *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def openai_error(received: bytes) -> dict[str, Any]:
    error = json.loads(received.partition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


CHUNKED = b"1d\r\n" + BODY + b"\r\n0\r\n\r\n"
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 4"),
        (b"Content-Length: 4", b"Content-Length: 300"),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding : chunked",),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Content-Length: +4",),
        (b"Content-Length: 0x1d",),
        (b"Content-Length: -1",),
        (b"Content-Length: 99999999999999999999999",),
    ],
    ids=repr,
)
def test_no_second_request_is_smuggled(live: LiveGateway, fields: tuple[bytes, ...]) -> None:
    received = talk(live, head(*fields) + CHUNKED + SMUGGLED)
    assert len(statuses(received)) <= 1
    assert b'"status":"ok"' not in received
    assert statuses(received) in ([400], [413], [408]), received


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'{"prompt":' + b'{"a":' * 100_000,
        b'{"prompt":"a","n":' + b"9" * 100_000 + b"}",
        b'{"prompt":"a","seed":-' + b"9" * 4000 + b"}",
        b'{"prompt":"\\udc00\\ud800"}',
        b'{"prompt":"a\xed\xa0\x80"}',
        b"\xef\xbb\xbf" + BODY,
        b'{"prompt":"a",}',
        b'{"prompt":"a"/**/}',
        b'{"prompt":"a"}{"prompt":"b"}',
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_hostile_json_is_refused_in_the_dialect(live: LiveGateway, raw: bytes) -> None:
    received = talk(live, head(length(raw)) + raw)
    assert statuses(received) == [400], received[:300]
    openai_error(received)


def test_a_number_too_small_to_tell_from_zero_is_zero(live: LiveGateway) -> None:
    raw = b'{"prompt":"a","temperature":1e-' + b"9" * 5000 + b"}"
    assert statuses(talk(live, head(length(raw)) + raw)) == [200]


def test_of_keys_that_come_twice_the_last_counts(live: LiveGateway) -> None:
    raw = b'{"prompt":"a","max_tokens":0,"max_tokens":2,"stream":true,"stream":false}'
    received = talk(live, head(length(raw)) + raw)
    assert statuses(received) == [200]
    assert b'"completion_tokens":2' in received


@pytest.mark.parametrize("field", [b"prompt", b"suffix", b"user", b"unknown"])
def test_two_megabytes_on_one_line_are_answered_in_time(live: LiveGateway, field: bytes) -> None:
    raw = b'{"suffix":"","prompt":"a","max_tokens":2,"' + field + b'":"' + b"x" * 2_000_000 + b'"}'
    assert statuses(talk(live, head(length(raw)) + raw)) == [200]


@pytest.mark.parametrize(
    "kind", [b"text/plain", b"multipart/form-data; boundary=x", b"application/xml", b"", b"\xff"]
)
def test_the_content_type_does_not_matter(live: LiveGateway, kind: bytes) -> None:
    """Editors send odd ones; the body is JSON or it is refused."""
    assert statuses(talk(live, head(b"Content-Type: " + kind, length(BODY)) + BODY)) == [200]


def test_chunks_without_end_are_given_up(live: LiveGateway) -> None:
    chunks = [b"4\r\n    \r\n"] * 12
    received = talk(live, head(b"Transfer-Encoding: chunked"), *chunks, pause_s=0.1)
    assert statuses(received) == [408]
    assert openai_error(received)["code"] == "body_too_slow"


@pytest.mark.parametrize("size", [b"FFFFFFFFFFFFFFFF", b"FFFFFFFFFFFFFFFFF", b"-1", b"zz"])
def test_impossible_chunk_sizes_are_refused(live: LiveGateway, size: bytes) -> None:
    received = talk(live, head(b"Transfer-Encoding: chunked") + size + b"\r\nx\r\n")
    assert statuses(received) in ([400], [408]), received


def test_a_body_that_drips_is_given_up(live: LiveGateway) -> None:
    drops = [BODY[i : i + 1] for i in range(12)]
    received = talk(live, head(length(BODY)), *drops, pause_s=0.1)
    assert statuses(received) == [408]


def test_a_head_that_drips_is_closed(live: LiveGateway) -> None:
    drops = [b"POST "] + [b"x"] * 30
    assert statuses(talk(live, *drops, pause_s=0.05)) in ([], [400])


def test_thousands_of_headers_are_bounded(live: LiveGateway) -> None:
    few = [b"x-%d: 1" % number for number in range(500)]
    assert statuses(talk(live, head(*few, length(BODY)) + BODY)) == [200]
    many = [b"x-%d: %s" % (number, b"a" * 100) for number in range(3000)]
    assert statuses(talk(live, head(*many, length(BODY)) + BODY)) in ([], [400])


def test_a_very_long_path_is_refused(live: LiveGateway) -> None:
    assert statuses(talk(live, head(path=b"/" + b"a" * 30_000, method=b"GET"))) == [404]
    assert statuses(talk(live, head(path=b"/" + b"a" * 300_000, method=b"GET"))) in ([], [400])


@pytest.mark.parametrize(
    "path",
    [b"/v1/models/%ff%00", b"/v1/models/..%2f..%2fetc", b"//v1/models", b"/v1/models/%0d%0aX:1"],
)
def test_odd_paths_are_not_found(live: LiveGateway, path: bytes) -> None:
    received = talk(live, head(path=path, method=b"GET"))
    assert statuses(received) == [404]
    openai_error(received)


def test_pipelined_requests_are_answered_in_order(live: LiveGateway) -> None:
    one = b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s" % (PATH.encode(), length(BODY), BODY)
    received = talk(live, one * 20 + head(length(BODY)) + BODY)
    assert statuses(received) == [200] * 21


def test_a_pipeline_whose_client_leaves_is_dropped(live: LiveGateway) -> None:
    one = b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s" % (PATH.encode(), length(BODY), BODY)
    with socket.create_connection(("127.0.0.1", live.port), timeout=BOUND_S) as connection:
        connection.sendall(one * 50)


def test_a_client_that_closes_its_half_early_leaves_nothing(live: LiveGateway) -> None:
    for raw in (b"", head(length(BODY))[:40], head(length(BODY)), head(length(BODY)) + BODY[:9]):
        with socket.create_connection(("127.0.0.1", live.port), timeout=BOUND_S) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            start = time.perf_counter()
            while connection.recv(65536):
                pass
            assert time.perf_counter() - start < BOUND_S


def test_an_upgrade_is_not_followed(live: LiveGateway) -> None:
    for kind in (b"websocket", b"h2c"):
        fields = (b"Upgrade: " + kind, b"HTTP2-Settings: AAMAAABk", length(BODY))
        raw = head(*fields).replace(b"close", b"Upgrade, HTTP2-Settings, close") + BODY
        assert 101 not in statuses(talk(live, raw))
    assert 101 not in statuses(talk(live, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))


def test_an_expected_continue_is_given(live: LiveGateway) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=BOUND_S) as connection:
        connection.sendall(head(b"Expect: 100-continue", length(BODY)))
        assert statuses(connection.recv(65536)) == [100]
        connection.sendall(BODY)
        assert statuses(connection.recv(65536)) == [200]


def test_connections_beyond_the_limit_are_refused_and_forgotten(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, max_connections=20, header_timeout_s=3) as full, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", full.port), timeout=BOUND_S))
        with RawClient(full.port, PATH, BODY) as client:
            assert b" 503 " in client.read_until(rb"\r\n\r\n")
        stack.close()

        def served() -> bool:
            with httpx.Client(base_url=full.url, timeout=BOUND_S) as client:
                return client.post(PATH, content=BODY).status_code == 200

        full.wait(served, "served again")
        full.wait_free()
