"""The gateway as an operator sees it: health, metrics, logs, the command, its start and its end."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, complete, live_gateway


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(live: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url) as client:
        yield client


def test_ready_means_that_the_engine_answers(live: LiveGateway, client: httpx.Client) -> None:
    assert client.get("/readyz").json() == {"status": "ok"}
    live.engine.broken = True  # type: ignore[attr-defined]
    try:
        live.wait(lambda: client.get("/readyz").status_code == 503, "it is seen")
        answer = client.get("/readyz")
        assert "not answering" in answer.json()["reason"]
        assert client.get("/livez").status_code == 200
    finally:
        live.engine.broken = False  # type: ignore[attr-defined]


def test_an_engine_that_fails_at_once_is_a_status_and_later_an_event(tiny: ModelArtifact) -> None:
    body = {"prompt": "a", "max_tokens": 64, "temperature": 0, "stream": True}
    with live_gateway(tiny, options={"fail_after": 0}) as live:
        answer = httpx.post(f"{live.url}/v1/completions", json=body)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "engine_failed"
    with live_gateway(tiny, options={"fail_after": 3}) as live:
        answer = httpx.post(f"{live.url}/v1/completions", json=body)
        assert answer.status_code == 200
        assert json.loads(answer.text.split("data: ")[-1])["error"]["code"] == "engine_failed"
        assert "[DONE]" not in answer.text
        live.wait_free()


def test_metrics_have_closed_labels_and_nothing_of_the_request(
    live: LiveGateway, client: httpx.Client
) -> None:
    secret = "SECRET_IDENTIFIER"
    body = {"prompt": secret, "user": secret, "model": "", "max_tokens": 3}
    headers = {"X-Tabwright-Session": secret, "X-Request-Id": secret}
    client.post("/v1/completions", json=body, headers=headers)
    client.post("/v1/completions", json={"prompt": secret, "model": secret})
    client.get(f"/v1/models/{secret}")
    text = client.get("/metrics").text
    assert secret not in text
    labels = set(re.findall(r"(\w+)=\"", text))
    assert labels == {
        *("protocol", "language", "variant", "outcome", "reason"),
        *("source", "kind", "stage", "le"),
    }
    assert live.counted("tabwright_requests_total", protocol="openai", outcome="ok") >= 1
    assert live.counted("tabwright_requests_total", protocol="openai", outcome="caller_error") >= 1
    assert 'tabwright_time_to_first_token_seconds_count{protocol="openai"}' in text
    assert "tabwright_engine_kv_blocks_total" in text


def test_nothing_of_a_users_text_is_logged(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "SECRET_IDENTIFIER"
    with caplog.at_level(logging.DEBUG):
        client.post("/v1/completions", json={"prompt": secret, "suffix": secret})
        client.post("/v1/completions", json={"prompt": secret, "n": secret})
        client.post("/v1/completions", json={"segments": {"prefix": secret}})
        event = {"type": "view", "completion_id": "cmpl-1", "choice_index": 0, "text": secret}
        assert client.post("/v1/events", json=event).status_code == 200
    shown = [repr(vars(record)) for record in caplog.records if record.name != "httpx"]
    assert any("cmpl-1" in record for record in shown)
    assert not any(secret in record for record in shown)


def test_the_openapi_document_names_both_bodies(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/completions"]["post"]["requestBody"]["content"]
    refs = {option["$ref"].split("/")[-1] for option in body["application/json"]["schema"]["anyOf"]}
    assert refs == {"CompletionBody", "SegmentsBody"}
    assert refs <= set(document["components"]["schemas"])


def test_answers_do_not_wait_for_acknowledgements(live: LiveGateway, client: httpx.Client) -> None:
    """Nagle's algorithm is off: with it every answer took 44 ms instead of 1."""
    client.get("/livez")
    for connection in live.listener.server_state.connections:
        transport: Any = connection.transport
        accepted = transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_health_and_settings_are_what_tabby_clients_need(client: httpx.Client) -> None:
    for health in (client.get("/v1/health").json(), client.post("/v1/health").json()):
        assert health["model"] == "tiny"
        assert re.match(r"v\d+\.\d+\.\d+", health["version"]["git_describe"])
    setting = client.get("/v1beta/server_setting").json()
    assert setting == {"disable_client_side_telemetry": True}


def test_the_key_guards_everything_but_health_and_metrics(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, api_key="k") as live, httpx.Client(base_url=live.url) as client:
        for method, path in (
            ("POST", "/v1/completions"),
            ("POST", "/v1/completions/x/cancel"),
            ("GET", "/v1/models"),
            ("GET", "/v1/health"),
            ("GET", "/v1beta/server_setting"),
            ("POST", "/v1/events"),
            ("POST", "/infill"),
            ("GET", "/props"),
            ("POST", "/api/show"),
            ("GET", "/api/tags"),
            ("GET", "/api/ps"),
            ("GET", "/api/version"),
            ("POST", "/generate_stream"),
            ("POST", "/v1/suggestions"),
            ("DELETE", "/v1/suggestions/x"),
            ("POST", "/v1/suggestions/events"),
            ("POST", "/v1/continue/events"),
        ):
            assert client.request(method, path, json={"prompt": "a"}).status_code == 401, path
        for path in ("/livez", "/readyz", "/metrics", "/health", "/"):
            assert client.get(path).status_code == 200
        header = {"Authorization": "Bearer k"}
        assert client.get("/v1/health", headers=header).status_code == 200


def start(*flags: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tabwright", "serve", "--engine", "scripted", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def announcement(process: subprocess.Popen[str]) -> str:
    """What the command prints once it answers."""
    assert process.stdout
    shown = ""
    while "Ctrl-C stops" not in shown:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        shown += line
    return shown


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_a_signal_ends_it_cleanly(
    tiny: ModelArtifact, sign: signal.Signals
) -> None:
    process = start("--model", str(tiny.path), "--port", "0", "--postprocess", "off")
    try:
        shown = announcement(process)
        assert "curl" in shown
        assert "config.toml" in shown
        found = re.search(r"http://[\w.]+:\d+", shown)
        assert found
        url = found.group()
        with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
            assert client.completions.create(model="", prompt="a").choices[0].text
        process.send_signal(sign)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()


def test_the_curl_line_that_is_printed_works(tiny: ModelArtifact) -> None:
    # Greedy: a sample of the scripted answer may begin with the stop string.
    options = ("--postprocess", "off", "--default-temperature", "0")
    process = start("--model", str(tiny.path), "--port", "0", *options)
    try:
        shown = announcement(process)
        found = re.search(r"^  (curl .*?')$", shown, re.MULTILINE | re.DOTALL)
        assert found
        answer = subprocess.run(
            ["sh", "-c", found.group(1) + " -s"], capture_output=True, text=True, check=True
        )
        assert json.loads(answer.stdout)["choices"][0]["text"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_port_in_use_and_a_wrong_flag_stop_the_start(tiny: ModelArtifact) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start("--model", str(tiny.path), "--port", port)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 2
        assert f"cannot listen on 127.0.0.1:{port}" in errors
    process = start("--model", str(tiny.path), "--host", "0.0.0.0")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "reachable from other machines" in errors


def test_a_broken_model_folder_stops_the_start(tmp_path: Path) -> None:
    process = start("--model", str(tmp_path))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "manifest.json is missing" in errors


def test_a_second_signal_does_not_wait_for_the_drain(tiny: ModelArtifact) -> None:
    with (
        live_gateway(tiny, options={"first_delay_s": 60}, drain_s=60) as live,
        complete(live.port, body={"prompt": "a"}) as client,
    ):
        live.wait(lambda: live.engine.stats().running == 1, "it runs")
        live.listener.handle_exit(signal.SIGINT, None)
        live.listener.handle_exit(signal.SIGINT, None)
        client.socket.recv(1)  # an answer or the end of the connection, within the patience


def test_an_answer_never_ends_in_half_a_character(tiny: ModelArtifact) -> None:
    ids = tiny.tokenizer.encode("x🦀")
    assert len(ids) > 2
    with live_gateway(tiny, options={"answer": "x🦀"}) as live:
        body = {"prompt": "a", "temperature": 0, "max_tokens": len(ids) - 1}
        answer = httpx.post(f"{live.url}/v1/completions", json=body).json()
        assert answer["choices"][0]["text"] == "x"
        body["max_tokens"] = len(ids)
        answer = httpx.post(f"{live.url}/v1/completions", json=body).json()
        assert answer["choices"][0]["text"] == "x🦀"
