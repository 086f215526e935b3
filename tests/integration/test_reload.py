"""A served gateway takes a changed configuration without dropping a request."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.settings import ServerSettings
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import PATIENCE_S, live_gateway
from tests.fakes.served import Served, serve_command

BODY = {"segments": {"prefix": "x = ", "suffix": ""}}
START = 'log_format = "json"\neditor_max_tokens = 9\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tabwright.toml"
    write(file, START)
    return file


@pytest.fixture
def served(tiny: ModelArtifact, tmp_path: Path, config: Path) -> Iterator[Served]:
    with serve_command(tiny.path, tmp_path, "--config", str(config)) as run:
        yield run


def write(file: Path, options: str) -> None:
    """Replace the file at once, as editors and Kubernetes do."""
    new = file.with_suffix(".new")
    new.write_text(f"[server]\n{options}", encoding="utf-8")
    os.replace(new, file)


def reload(served: Served) -> list[dict[str, Any]]:
    """Send SIGHUP; what the gateway says of it."""
    before = len(said(served))
    served.process.send_signal(signal.SIGHUP)
    served.wait(lambda: len(said(served)) > before, "an answer to SIGHUP")
    return said(served)[before:]


def said(served: Served) -> list[dict[str, Any]]:
    return [line for line in served.lines() if line["logger"] == "server.reload"]


def tokens(served: Served) -> int:
    """How long an answer is that the client does not limit."""
    name = uuid.uuid4().hex
    raw = {"X-Tabwright-Typeahead": "off", "X-Tabwright-Postprocess": "off"}
    headers = raw | {"X-Request-Id": name}
    httpx.post(f"{served.url}/v1/completions", json=BODY, headers=headers).raise_for_status()
    lines = served.wait_lines(lambda line: line.get("client_request_id") == name)
    count: int = lines[0]["tokens"]
    return count


def test_a_changed_option_holds_for_the_next_request_and_none_is_dropped(
    served: Served, config: Path
) -> None:
    assert tokens(served) == 9
    with ThreadPoolExecutor() as pool:
        headers = {"X-Tabwright-Delay-Ms": "2000"}
        url = f"{served.url}/v1/completions"
        under_way = pool.submit(httpx.post, url, json=BODY, headers=headers, timeout=PATIENCE_S)
        write(config, 'log_format = "json"\neditor_max_tokens = 3\n')
        assert reload(served)[0]["changed"] == "editor_max_tokens"
        assert tokens(served) == 3
        assert under_way.result().status_code == 200


def test_a_file_with_a_mistake_changes_nothing_and_says_where_it_is(
    served: Served, config: Path
) -> None:
    for wrong, what in (
        ("editor_max_tokens = 3\ndeadline_s = -1\n", "deadline_s"),
        ("editor_max_tokens = 3\ndedline_s = 1\n", "did you mean 'deadline_s'"),
        ("editor_max_tokens = 3\nlines = = 1\n", "line 3"),
        ("editor_max_tokens = 3\n# \udcff\n", "utf-8"),
    ):
        config.write_bytes(f"[server]\n{wrong}".encode(errors="surrogateescape"))
        line = reload(served)[-1]
        assert line["level"] == "error"
        assert str(config) in line["message"]
        assert what in line["message"]
    config.unlink()
    assert "gone" in reload(served)[-1]["message"]
    assert tokens(served) == 9
    write(config, 'log_format = "json"\neditor_max_tokens = 3\n')
    reload(served)
    assert tokens(served) == 3


def test_an_option_that_needs_a_restart_is_named_and_the_rest_is_used(
    served: Served, config: Path
) -> None:
    write(config, 'log_format = "json"\neditor_max_tokens = 3\nmax_running = 2\nthreads = 5\n')
    served.process.send_signal(signal.SIGHUP)
    served.wait(lambda: any("restart" in line["message"] for line in said(served)), "a warning")
    changed, warning = said(served)
    assert changed["changed"] == "editor_max_tokens"
    assert warning["level"] == "error"
    assert warning["message"].endswith(": max_running, threads")
    assert tokens(served) == 3


def test_a_flag_still_wins_over_the_file(tiny: ModelArtifact, tmp_path: Path, config: Path) -> None:
    flags = ("--config", str(config), "--editor-max-tokens", "5")
    with serve_command(tiny.path, tmp_path, *flags) as served:
        write(config, 'log_format = "json"\neditor_max_tokens = 3\n')
        assert reload(served)[0]["changed"] == "nothing"
        assert tokens(served) == 5


def test_a_watched_file_is_read_when_it_changes(
    tiny: ModelArtifact, tmp_path: Path, config: Path
) -> None:
    flags = ("--config", str(config), "--reload-config")
    with serve_command(tiny.path, tmp_path, *flags) as served:
        write(config, 'log_format = "json"\neditor_max_tokens = 3\n')
        served.wait(lambda: bool(said(served)), "the change is seen")
        assert tokens(served) == 3
        write(config, 'log_format = "text"\neditor_max_tokens = 3\n')
        served.wait(lambda: "changed=log_format" in served.text, "the form changes")


def test_a_closed_terminal_ends_the_program(tiny: ModelArtifact, tmp_path: Path) -> None:
    """SIGHUP also means that; a gateway nobody sees any more would keep the port."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tabwright", "serve", "--engine", "scripted"),
            *("--model", str(tiny.path), "--port", "0"),
        ],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        assert process.stdout is not None
        while b"Ctrl-C stops" not in process.stdout.readline():
            assert process.poll() is None
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_limits_of_parts_follow_the_settings(tiny: ModelArtifact) -> None:
    with live_gateway(tiny) as live:
        gateway, url = live.gateway, f"{live.url}/v1/completions"
        wanted = {"max_waiting": 3, "max_connections": 7, "typeahead_mb": 0, "drain_s": 1}
        httpx.post(url, json=BODY)
        gateway.live.replace(ServerSettings.model_validate(wanted))
        assert gateway.completer.admission.max_waiting == 3
        assert live.listener.config.limit_concurrency == 7
        assert gateway.completer.typeahead is not None
        assert len(gateway.completer.typeahead) == 0
        httpx.post(url, json=BODY)
        assert live.counted("tabwright_suggestions_total", source="memory") == 0
        gateway.live.replace(ServerSettings.model_validate({}))
        httpx.post(url, json=BODY)
        httpx.post(url, json=BODY)
        assert live.counted("tabwright_suggestions_total", source="memory") == 1
