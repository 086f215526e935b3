"""The dashboard, the alert rules and the page of operations name metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import live_gateway

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
PAGES = [MONITORING / "alerts.yaml", MONITORING / "grafana.json", ROOT / "docs" / "operations.md"]


@pytest.fixture(scope="module")
def exposed(tiny: ModelArtifact) -> dict[str, set[str]]:
    """Every name that is exposed after a request, with its labels; families too."""
    with live_gateway(tiny) as live:
        body = {"prompt": "x", "suffix": "", "max_tokens": 2}
        httpx.post(f"{live.url}/v1/completions", json=body).raise_for_status()
        text = httpx.get(f"{live.url}/metrics").text
    names: dict[str, set[str]] = {name: set() for name in re.findall(r"^# TYPE (\S+)", text, re.M)}
    for name, labels in re.findall(r"^(\w+)(?:{(.*)})? ", text, re.M):
        names.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_that_is_named_exists(page: Path, exposed: dict[str, set[str]]) -> None:
    named = set(re.findall(r"\btabwright_[a-z_]+[a-z]\b", page.read_text(encoding="utf-8")))
    named -= {"tabwright_time_to_first_token", "tabwright_request"}  # the drawing in the page
    assert named
    assert not named - set(exposed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_label_that_is_selected_by_exists(page: Path, exposed: dict[str, set[str]]) -> None:
    text = page.read_text(encoding="utf-8").replace('\\"', '"')
    for name, selector in re.findall(r"\b(tabwright_\w+){([a-z][^}]*[\"])}", text):
        labels = set(re.findall(r"(\w+)(?:=~|!=|=)\"", selector))
        assert labels <= exposed[name], name


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 10
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${source}"
        assert all(target["expr"] for target in panel["targets"])


def test_the_service_runs_a_command_with_options_that_exist() -> None:
    unit = (ROOT / "deploy" / "systemd" / "tabwright.service").read_text(encoding="utf-8")
    command = re.findall(r"^ExecStart=\S*/bin/(.*)$", unit, re.M)[0].split()
    assert command[:2] == ["tabwright", "serve"]
    done = subprocess.run(
        [sys.executable, "-m", *command[:2], "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(word in done.stdout for word in command if word.startswith("--"))
