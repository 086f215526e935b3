"""The page of our own protocol: what it shows to copy is run as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

from server.event_file import line_of
from server.telemetry import EventKind, Part, Suggested, SuggestionEvent
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "native.md").read_text(encoding="utf-8")
EVENTS = (DOCS / "events.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8123"


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny) as gateway:
        yield gateway


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(live: LiveGateway, *command: str) -> str:
    here = [part.replace(ADDRESS, live.url) for part in command]
    done = subprocess.run(here, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_shell_examples_work(live: LiveGateway) -> None:
    asked, cancelled, told = (run(live, "sh", "-e", "-c", block) for block in blocks("sh"))
    assert asked.count("event: done") == 1
    assert '"request_id":"key-41"' in asked
    assert cancelled == '{"cancelled":0}' * 2
    assert json.loads(told) == {"counted": 0, "unknown": 3, "repeated": 0}


def test_the_client_streams_and_cancels(tiny: ModelArtifact) -> None:
    (client,) = blocks("python")
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options) as live:
        assert run(live, sys.executable, "-c", client).strip() == "x"
        live.wait_free()
        assert live.cancels("requested") + live.cancels("disconnect") == 1
        whole = client[: client.index("for piece in")]
        whole += 'print("".join(suggest("a", "b", "whole")).count("x"))\n'
        assert int(run(live, sys.executable, "-c", whole)) > 20
        with pytest.raises(AssertionError, match="RuntimeError: prefix"):
            run(live, sys.executable, "-c", whole.replace('"a"', "None"))


def test_the_error_that_is_shown_is_the_error_that_is_sent(live: LiveGateway) -> None:
    shown = next(b for b in blocks("json") if "about:blank" in b)
    command = ("curl", "-s", f"{ADDRESS}/v1/suggestions", "-d", "{}")
    assert json.loads(run(live, *command)) == json.loads(shown)


def test_every_field_has_a_row(live: LiveGateway) -> None:
    schemas = httpx.get(f"{live.url}/openapi.json").json()["components"]["schemas"]
    rows = "\n".join(row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| "))
    bodies = ("SuggestionBody", "EventReport")
    named = {field for name in bodies for field in schemas[name]["properties"]}
    assert not {field for field in named if f"`{field}`" not in rows}


def test_the_line_of_an_event_that_is_shown_is_one() -> None:
    (line,) = re.findall(r"^```json\n(.*?)\n```$", EVENTS, re.MULTILINE | re.DOTALL)
    suggestion = Suggested(
        "sug-5f0c", "native", "", "ada", "python", "tabwright-7m", "memory", "model=new"
    )
    event = SuggestionEvent(
        "w1-2",
        EventKind.ACCEPTED,
        1795280034.1,
        suggestion,
        "native",
        choice=0,
        shown_ms=850.0,
        part=Part.LINE,
        chars=14,
    )
    assert line_of(event).decode() == line + "\n"
    names = {field.name for field in fields(SuggestionEvent)} - {"kind", "joined", "choice"}
    assert not {name for name in names if f"`{name}`" not in EVENTS}
