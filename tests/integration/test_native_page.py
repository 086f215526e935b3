"""The page of our own protocol: what it shows to copy is run as it stands."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

PAGE = (Path(__file__).parents[2] / "docs" / "native.md").read_text(encoding="utf-8")
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
    asked, cancelled = (run(live, "sh", "-e", "-c", block) for block in blocks("sh"))
    assert asked.count("event: done") == 1
    assert '"request_id":"key-41"' in asked
    assert cancelled == '{"cancelled":0}' * 2


def test_the_error_that_is_shown_is_the_error_that_is_sent(live: LiveGateway) -> None:
    shown = next(b for b in blocks("json") if "about:blank" in b)
    command = ("curl", "-s", f"{ADDRESS}/v1/suggestions", "-d", "{}")
    assert json.loads(run(live, *command)) == json.loads(shown)


def test_every_field_has_a_row(live: LiveGateway) -> None:
    schemas = httpx.get(f"{live.url}/openapi.json").json()["components"]["schemas"]
    rows = "\n".join(row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| "))
    missing = {f for f in schemas["SuggestionBody"]["properties"] if f"`{f}`" not in rows}
    assert not missing
