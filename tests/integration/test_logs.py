"""The log of a real `tabwright serve`: one line a request, and nothing that a user typed."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.logs import FieldFormatter, JsonFormatter
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import live_gateway
from tests.fakes.served import Served, serve_command

SECRET = "SECRET_IDENTIFIER"
KEY = f"{SECRET}_KEY"


@pytest.fixture(scope="module")
def served(tiny: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("logs")
    with serve_command(tiny.path, folder, "--log-format", "json", api_key=KEY) as run:
        yield run


def ask(served: Served, path: str, body: Any = None, **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {KEY}"} | headers
    method = "GET" if body is None else "POST"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.request(method, f"{served.url}{path}", content=content, headers=given, timeout=20)


def line_of(served: Served, client_request_id: str) -> dict[str, Any]:
    """The access line of the completion that was given this id."""
    found = served.wait_lines(lambda line: line.get("client_request_id") == client_request_id)
    assert len(found) == 1
    line: dict[str, Any] = found[0]
    return line


def test_every_request_has_one_line_with_its_facts(served: Served) -> None:
    body = {"prompt": "x = ", "suffix": SECRET, "max_tokens": 4, "temperature": 0}
    answer = ask(served, "/v1/completions", body, **{"X-Request-Id": "one-line"})
    line = line_of(served, "one-line")
    assert line["time"].endswith("+00:00")
    assert line["ms"] > 0
    shown = {key: value for key, value in line.items() if key not in ("time", "ms")}
    assert shown == {
        "level": "info",
        "logger": "server.access",
        "message": "request",
        "request_id": answer.json()["id"],
        "method": "POST",
        "route": "/v1/completions",
        "status": 200,
        "protocol": "openai",
        "outcome": "ok",
        "language": "other",
        "tokens": 4,
        "source": "engine",
        "client_request_id": "one-line",
    }


def test_an_answer_from_memory_says_so(served: Served) -> None:
    body = {"language": SECRET, "segments": {"prefix": "y = ", "suffix": "", "filepath": "a.rs"}}
    for name in ("first", "second"):
        ask(served, "/v1/completions", body, **{"X-Request-Id": name})
    lines = [line_of(served, "first"), line_of(served, "second")]
    assert [line["source"] for line in lines] == ["engine", "memory"]
    assert [line["tokens"] > 0 for line in lines] == [True, False]
    assert {line["language"] for line in lines} == {"rust"}


def test_a_client_that_leaves_has_a_line_too(served: Served) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{served.url}/v1/completions",
            json={"prompt": SECRET, "suffix": ""},
            headers={
                **{"Authorization": f"Bearer {KEY}", "X-Request-Id": "left"},
                "X-Tabwright-Delay-Ms": "2000",
            },
            timeout=0.3,
        )
    line = line_of(served, "left")
    assert (line["status"], line["outcome"], line["reason"]) == (499, "cancelled", "disconnect")


def test_nothing_that_a_client_sends_is_in_the_log(served: Served) -> None:
    text = {"prompt": SECRET, "suffix": SECRET}
    hostile: list[Any] = [
        *(text, {"prompt": {SECRET: SECRET}}, {"prompt": [SECRET] * 9999}, text | {"n": SECRET}),
        *({"segments": {"prefix": 3, SECRET: 1}}, f"{{{SECRET}".encode(), b'"\xff' + b"x" * 99),
        *(text | {"model": SECRET}, text | {"stop": [SECRET], "stream": True}, [SECRET]),
    ]
    for body in hostile:
        ask(served, f"/v1/completions?q={SECRET}", body, **{"X-Tabwright-User": SECRET})
    ask(served, "/v1/completions", text, **{"X-Tabwright-Session": f"{SECRET} x"})
    ask(served, "/v1/completions", text, Authorization=f"Bearer {SECRET}_wrong")
    ask(served, f"/v1/models/{SECRET}")
    ask(served, f"/{SECRET}")
    ask(served, f"/v1/completions/{SECRET}/cancel", {})
    ask(served, "/v1/events", {"type": "view", "completion_id": "e-1", "text": SECRET})
    for raw in (f"{SECRET}\r\n\r\n", f"GET /{SECRET} HTTP/9\r\n{SECRET}\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as client:
            client.sendall(raw.encode())
            client.recv(4096)
    ask(served, "/v1/completions", {"prompt": "last"}, **{"X-Request-Id": "last"})
    line_of(served, "last")
    lines = served.lines()  # each is JSON
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    routes = {line["route"] for line in lines if line["logger"] == "server.access"}
    assert {"/v1/models/{model:path}", "/v1/completions/{request_id}/cancel", "unknown"} <= routes
    assert SECRET not in served.text


def test_probes_are_not_told_at_info(served: Served) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx.get(f"{served.url}{path}").status_code == 200
    ask(served, "/v1/completions", {"prompt": "after"}, **{"X-Request-Id": "after"})
    line_of(served, "after")
    assert not [line for line in served.lines() if line.get("route") == "/readyz"]


def test_a_bug_that_quotes_the_prompt_is_logged_without_it(
    tiny: ModelArtifact, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*_: object) -> list[int]:
        raise ValueError(SECRET)

    with caplog.at_level(logging.INFO), live_gateway(tiny, options={"respond": bug}) as live:
        answer = httpx.post(f"{live.url}/v1/completions", json={"prompt": SECRET})
    assert answer.status_code == 500
    broke = [record for record in caplog.records if record.getMessage() == "request broke"]
    assert len(broke) == 1
    for formatter in (FieldFormatter(), JsonFormatter()):
        shown = [formatter.format(r) for r in caplog.records if r.name.startswith("server")]
        assert "ValueError" in "".join(shown)
        assert SECRET not in "".join(shown)
