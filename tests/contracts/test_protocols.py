"""What every protocol owes its clients, asked of each address that completes text."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.protocols import PROTOCOLS
from tests.contracts.protocol_entries import ANSWER, ENTRIES, Entry
from tests.fakes.live_gateway import LiveGateway, RawClient

NOT_COMPLETING = {
    *("/v1/events", "/v1/suggestions/events", "/v1/continue/events", "/api/show"),
    "/v1/admin/flags/{key}",
    *("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/{key}"),
}

EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=str)
STREAMING = pytest.mark.parametrize("entry", [e for e in ENTRIES if e.streams], ids=str)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(live: LiveGateway) -> Iterator[None]:
    yield
    live.wait_free()


def post(
    live: LiveGateway, path: str, body: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"content-type": "application/json"}
    # Not verifying what has no certificate saves reading all authorities, twenty milliseconds each.
    return httpx.post(
        live.url + path, content=raw, headers=kind | (headers or {}), timeout=20, verify=False
    )


def ask(live: LiveGateway, entry: Entry, prefix: str = "a = ", suffix: str = "") -> httpx.Response:
    return post(live, entry.path, entry.body(prefix, suffix, False))


def ask_stream(live: LiveGateway, entry: Entry) -> httpx.Response:
    assert entry.streams
    return post(live, entry.streams, entry.body("a = ", "", True))


def objects(answer: httpx.Response) -> list[Any]:
    """The JSON objects of a stream, server-sent events or lines."""
    rows = (row for row in answer.content.decode().split("\n") if not row.startswith("event: "))
    lines = (row.removeprefix("data: ") for row in rows)
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


def refused(entry: Entry, answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == entry.error_type
    message = entry.error(answer.json(), status)
    assert message
    return message


def test_every_completing_route_of_every_protocol_is_under_this_contract(
    live: LiveGateway,
) -> None:
    others = {"console", "continue", "ofrep"}
    assert {entry.protocol for entry in ENTRIES} == set(PROTOCOLS) - others
    document = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    bodies = {path for path, row in document.items() if "requestBody" in row.get("post", {})}
    asked = {path for entry in ENTRIES for path in (entry.path, entry.stream_path) if path}
    asked = {re.sub(r"/engines/[^/]+", "/engines/{engine}", path) for path in asked}
    assert asked == bodies - NOT_COMPLETING


@EVERY
def test_the_answer_is_the_text_of_the_model(live: LiveGateway, entry: Entry) -> None:
    answer = ask(live, entry)
    assert answer.status_code == 200, answer.text
    assert entry.text(answer.json()) == ANSWER
    assert answer.headers["content-type"] == "application/json"
    assert b'": ' not in answer.content, "compact JSON on one line"
    assert b"\n" not in answer.content


@STREAMING
def test_a_stream_says_the_same_piece_by_piece(live: LiveGateway, entry: Entry) -> None:
    answer = ask_stream(live, entry)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(entry.media_type)
    assert entry.piece
    pieces = [entry.piece(chunk) for chunk in objects(answer)]
    assert len(pieces) > 3
    assert "".join(pieces) == ANSWER
    assert answer.content.endswith(entry.done)
    assert (b"[DONE]" in answer.content) == bool(entry.done)
    assert not re.search(rb"(?m)^:", answer.content), "comments end Continue's batch"


TEXTS = {
    "empty file": ("", ""),
    "cursor at the start": ("", "def f():\n    return 1\n"),
    "cursor at the end": ("def f():\n    return ", ""),
    "unicode": ("größe = '東京 🙂", "שלום\u202e\ufeff\n"),
    "carriage returns": ("def f():\r\n    return ", "\r\n\r\nf()\r\n"),
    "a line of 100 KB": ("x" * 100_000, "y" * 100_000),
    "sentinels": ("<fim_prefix>a<fim_suffix>", "<fim_middle><|endoftext|>"),
    "nul": ("a\x00b", "\x00"),
}


@EVERY
@pytest.mark.parametrize("name", TEXTS)
def test_any_text_around_the_cursor_is_completed(
    live: LiveGateway, entry: Entry, name: str
) -> None:
    prefix, suffix = TEXTS[name]
    answer = ask(live, entry, prefix, suffix)
    if not entry.fills and len(prefix) > 50_000:
        refused(entry, answer, 400)  # a prompt that the client laid out is not cut
        return
    assert answer.status_code == 200, answer.text
    loaded = entry.empty_is_load and not entry.laid_out and not prefix + suffix
    assert entry.text(answer.json()) == ("" if loaded else ANSWER)


@EVERY
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b'"a"', b"\xff", b'{"prompt": "\\ud800"}', b'{"a": NaN}', b"{}"],
    ids=repr,
)
def test_a_body_that_is_none_is_refused(live: LiveGateway, entry: Entry, raw: bytes) -> None:
    answer = post(live, entry.path, raw)
    if entry.empty_is_load and raw in (b"", b"{}"):
        assert answer.status_code == 200
    elif entry.protocol == "tabby":
        assert answer.status_code == 400  # nothing in it says whose it is: OpenAI's error
    else:
        refused(entry, answer, 400)


@EVERY
def test_wrong_values_are_refused_by_name(live: LiveGateway, entry: Entry) -> None:
    for path in sorted({entry.path, entry.streams or entry.path}):
        for field, value in entry.wrong.items():
            body = entry.body("a", "", False)
            *inside, name = field.split(".")
            (body[inside[0]] if inside else body)[name] = value
            assert name in refused(entry, post(live, path, body), 400)


@EVERY
def test_no_body_of_odd_values_is_a_500(live: LiveGateway, entry: Entry) -> None:
    odd: list[Any] = [None, True, -1, 0, 1.5, 10**30, "", "\x00", [], {}, [1], ["a"], {"a": 1}]
    for field in entry.body("a", "b", False):
        for value in odd:
            answer = post(live, entry.path, entry.body("a", "b", False) | {field: value})
            assert answer.status_code in (200, 400, 404), (field, value, answer.text)
            if answer.status_code != 200 and field != "segments":
                refused(entry, answer, answer.status_code)


@EVERY
def test_random_bodies_are_never_a_500(live: LiveGateway, entry: Entry) -> None:
    chance = random.Random(entry.path)
    leaves: list[Any] = [None, True, -1, 0, 1, 2.5, 10**20, "", "a", [], {}, [1], ["a"], [[1]]]
    paths = httpx.get(f"{live.url}/openapi.json", verify=False).json()
    known = re.sub(r"/engines/[^/]+", "/engines/{engine}", entry.path)
    request = paths["paths"][known]["post"]["requestBody"]["content"]["application/json"]
    names = {option["$ref"].rpartition("/")[2] for option in request["schema"]["anyOf"]}
    schemas = paths["components"]["schemas"]
    fields = sorted({field for name in names for field in schemas[name]["properties"]})
    inside = [
        field for name in ("GenerateOptions", "Parameters") for field in schemas[name]["properties"]
    ]
    for _ in range(60):
        body = entry.body("a", "b", False)
        body |= {field: chance.choice(leaves) for field in chance.sample(fields, 2)}
        nested = [key for key in ("options", "parameters") if isinstance(body.get(key), dict)]
        for key in nested:
            body[key] = {field: chance.choice(leaves) for field in chance.sample(inside, 2)}
        answer = post(live, entry.path, body)
        assert answer.status_code in (200, 400, 404), (body, answer.text)


@EVERY
def test_a_body_that_is_too_large_is_refused_in_the_dialect(
    small: LiveGateway, entry: Entry
) -> None:
    answer = ask(small, entry, "a" * 2000)
    assert answer.status_code == 413
    if entry.protocol != "tabby":
        refused(entry, answer, 413)


@EVERY
def test_a_wrong_method_is_refused_in_the_dialect(live: LiveGateway, entry: Entry) -> None:
    answer = httpx.put(live.url + entry.path, json={}, verify=False)
    assert answer.status_code == 405
    if entry.protocol != "tabby":
        refused(entry, answer, 405)


@EVERY
def test_a_cancelled_request_is_told_so_in_the_dialect(slow: LiveGateway, entry: Entry) -> None:
    name = {"X-Request-Id": "mine"}
    with RawClient(slow.port, entry.path, entry.body("a", "", False), name) as client:
        slow.wait(lambda: slow.engine.stats().running == 1, "the slot is taken")
        assert post(slow, "/v1/completions/mine/cancel", {}).json() == {"cancelled": 1}
        status, body = client.read_answer()
    assert status == 499
    assert "requested" in entry.error(body, status)
    slow.wait_free()


@EVERY
def test_an_unknown_model_is_not_found_and_no_model_is_ours(
    live: LiveGateway, entry: Entry
) -> None:
    body = entry.body("a", "", False)
    for name in ("", "tiny"):
        assert post(live, entry.path, body | {"model": name}).status_code == 200
    answer = post(live, entry.path, body | {"model": "gpt-4"})
    if entry.named:
        assert "gpt-4" in refused(entry, answer, 404)
    else:
        assert answer.status_code == 200


@EVERY
def test_a_wrong_key_is_refused_in_the_dialect(keyed: LiveGateway, entry: Entry) -> None:
    body = entry.body("a", "", False)
    for key in ("", "Bearer", "Bearer wrong"):
        answer = post(keyed, entry.path, body, {"Authorization": key})
        assert answer.status_code == 401
        if entry.protocol != "tabby":  # whose path it is, the body says, which is not read yet
            refused(entry, answer, 401)
    assert post(keyed, entry.path, body, {"Authorization": "Bearer k"}).status_code == 200


@EVERY
def test_an_empty_key_is_fine_where_none_is_asked_for(live: LiveGateway, entry: Entry) -> None:
    header = {"Authorization": "Bearer "}  # of llama.vim; client libraries refuse to send it
    with RawClient(live.port, entry.path, entry.body("a", "", False), header) as client:
        assert client.read_answer()[0] == 200


@EVERY
def test_overload_is_said_at_once(slow: LiveGateway, entry: Entry) -> None:
    with RawClient(slow.port, entry.path, entry.body("a", "", False)):
        slow.wait(lambda: slow.engine.stats().running == 1, "the slot is taken")
        busy = ask(slow, entry)
        refused(entry, busy, 503)
        assert busy.headers["retry-after"] == "1"
        if entry.streams:
            refused(entry, ask_stream(slow, entry), 503)
    slow.wait_free()


@EVERY
def test_leaving_frees_the_slot(slow: LiveGateway, entry: Entry) -> None:
    before = slow.cancels("disconnect")
    with RawClient(slow.port, entry.path, entry.body("a", "", False)):
        slow.wait(lambda: slow.engine.stats().running == 1, "the slot is taken")
    slow.wait_free()
    assert slow.cancels("disconnect") == before + 1


@STREAMING
def test_leaving_a_stream_frees_the_slot(slow: LiveGateway, entry: Entry) -> None:
    assert entry.streams
    before = slow.cancels("disconnect")
    with RawClient(slow.port, entry.streams, entry.body("a", "", True)) as client:
        client.read_until(rb"\r\n\r\n.*\{.*\}\n")
        assert slow.engine.stats().running == 1
    slow.wait_free()
    assert slow.cancels("disconnect") == before + 1


Failing = tuple[LiveGateway, LiveGateway]


@EVERY
def test_an_engine_that_fails_is_a_500_in_the_dialect(failing: Failing, entry: Entry) -> None:
    for gateway in failing:
        refused(entry, ask(gateway, entry), 500)
        gateway.wait_free()


@STREAMING
def test_a_stream_that_fails_says_so_in_the_dialect(failing: Failing, entry: Entry) -> None:
    at_once, later = failing
    refused(entry, ask_stream(at_once, entry), 500)
    answer = ask_stream(later, entry)
    assert answer.status_code == 200
    *pieces, last = objects(answer)
    assert pieces
    assert "failure" in entry.error(last, 500)
    assert b"[DONE]" not in answer.content
    later.wait_free()


@EVERY
def test_a_deadline_ends_in_the_dialect(late: LiveGateway, entry: Entry) -> None:
    answer = ask(late, entry)
    refused(entry, answer, 503)
    assert "retry-after" in answer.headers
    if entry.streams:
        refused(entry, ask_stream(late, entry), 503)
    late.wait_free()


def test_the_metrics_know_the_protocols_of_the_table_and_no_other(live: LiveGateway) -> None:
    for entry in ENTRIES:
        ask(live, entry)
    text = httpx.get(f"{live.url}/metrics").text
    assert set(re.findall(r'protocol="([^"]*)"', text)) == set(PROTOCOLS) - {"ofrep", "console"}
