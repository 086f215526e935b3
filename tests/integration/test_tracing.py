"""A collector on the loopback gets real spans, with the caller's trace and without any text."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from server.timing import Stage
from server.tracing import tracing
from tabwright.artifact import ModelArtifact
from tabwright.errors import MissingExtra
from tests.fakes.served import serve_command

SECRET = "SECRET_IDENTIFIER"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """An OTLP receiver that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        kept = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                kept.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> list[Any]:
        return [
            span
            for raw in self.requests
            for resource in ExportTraceServiceRequest.FromString(raw).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


@contextmanager
def without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    yield


def attributes(span: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def test_a_request_is_a_span_with_its_stages_below_the_callers(
    tiny: ModelArtifact, tmp_path: Path, collector: Collector
) -> None:
    before = time.time_ns()
    flags = ("--otel-endpoint", collector.url)
    with serve_command(tiny.path, tmp_path, *flags) as served:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": SECRET[:6]}
        body = {"prompt": SECRET, "suffix": SECRET, "max_tokens": 3, "user": SECRET}
        url = f"{served.url}/v1/completions"
        answer = httpx.post(f"{url}?q={SECRET}", json=body, headers=headers)
        assert answer.status_code == 200
        assert httpx.post(url, json={"prompt": SECRET, "n": SECRET}).status_code == 400
        httpx.get(f"{served.url}/v1/models/{SECRET}")
        httpx.get(f"{served.url}/readyz")
        served.stop()
    spans = collector.spans()
    roots = [span for span in spans if span.name.startswith(("POST", "GET"))]
    assert [span.name for span in roots] == [
        "POST /v1/completions",
        "POST /v1/completions",
        "GET /v1/models/{model:path}",
    ]
    root = roots[0]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    shown = attributes(root)
    assert shown["tabwright.request_id"] == answer.json()["id"]
    assert (shown["tabwright.protocol"], shown["tabwright.outcome"]) == ("openai", "ok")
    assert shown["http.response.status_code"] == 200
    children = {span.name: span for span in spans if span.parent_span_id == root.span_id}
    assert set(children) == {str(stage) for stage in Stage} - {"postprocess"}
    assert attributes(children["prompt"])["tabwright.prompt_tokens"] > 0
    assert attributes(children["decode"])["tabwright.postprocess_ms"] > 0
    for child in children.values():
        assert before < root.start_time_unix_nano <= child.start_time_unix_nano
        assert child.start_time_unix_nano <= child.end_time_unix_nano <= root.end_time_unix_nano
    assert attributes(roots[1])["tabwright.outcome"] == "caller_error"
    assert roots[1].trace_id.hex() != TRACE
    assert not any(SECRET.encode() in raw for raw in collector.requests)


def test_a_collector_that_is_away_costs_no_request_and_no_stop(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    with serve_command(tiny.path, tmp_path, "--otel-endpoint", "http://127.0.0.1:9") as served:
        body = {"prompt": SECRET, "max_tokens": 1}
        assert httpx.post(f"{served.url}/v1/completions", json=body).status_code == 200
        start = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - start < 30
        assert SECRET not in served.text


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        without_opentelemetry(monkeypatch),
        pytest.raises(MissingExtra, match=r"tabwright\[otel\]"),
        tracing("http://127.0.0.1:4318"),
    ):
        pass


def test_without_a_collector_nothing_of_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with without_opentelemetry(monkeypatch), tracing(None) as tell:
        assert tell is None
