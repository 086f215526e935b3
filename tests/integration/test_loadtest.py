"""Developers type at a real server: the figures add up, and waste is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.__main__ import main as loadtest
from loadtest.clients import EDITORS, Server
from loadtest.developer import Developer, Seen
from loadtest.keystrokes import Key, Trace
from loadtest.replay import main as replay
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import live_gateway

WANTED = "range(10):\n    print(i)"
TRACE = Trace("a.py", "for i in ", "\n", tuple(Key(0.6 * n, c) for n, c in enumerate(WANTED, 1)))
LIMITS = """
[[limit]]
figure = "all.error_share"
most = 0

[[limit]]
figure = "all.requests"
least = 3
"""


@pytest.mark.parametrize("protocol", EDITORS)
def test_a_right_suggestion_is_accepted_at_once(tiny: ModelArtifact, protocol: str) -> None:
    seen: list[Seen] = []
    said = tiny.tokenizer.encode(WANTED)
    with live_gateway(tiny, options={"respond": lambda *_: said}) as live:
        developer = Developer(Server("127.0.0.1", live.port), EDITORS[protocol], seen.append, 1)
        trace = Trace(TRACE.path, TRACE.before, TRACE.after, (Key(5.0, WANTED[0]), *TRACE.keys[1:]))
        developer.type(trace, lambda: False)
        live.wait_free()
    assert [(one.outcome, one.chars) for one in seen] == [("accepted", len(WANTED))]
    assert seen[0].first_ms is not None
    assert seen[0].source == "engine"


@pytest.mark.parametrize("protocol", EDITORS)
def test_typing_on_abandons_what_is_not_there_yet(tiny: ModelArtifact, protocol: str) -> None:
    seen: list[Seen] = []
    keys = tuple(Key(0.6 * n, c) for n, c in enumerate("abc", 1))
    with live_gateway(tiny, options={"first_delay_s": 30.0}) as live:
        developer = Developer(Server("127.0.0.1", live.port), EDITORS[protocol], seen.append, 1)
        developer.type(Trace("a.py", "", "\n", keys), lambda: False)
        live.wait_free()
        assert live.cancels("disconnect") + live.cancels("superseded") == 3
    assert [one.outcome for one in seen] == ["abandoned"] * 3


def test_the_command_starts_a_server_loads_it_and_judges(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    limits, report = tmp_path / "limits.toml", tmp_path / "report.json"
    limits.write_text(LIMITS)
    words = ["--users", "3", "--duration", "20", "--limits", str(limits), "--report", str(report)]
    assert loadtest([*words, "--", "--engine", "scripted"]) == 0
    figures = json.loads(capfd.readouterr().out)
    assert figures == json.loads(report.read_text())
    assert figures["load"]["users"] == 3
    assert figures["all"]["requests"] == sum(figures["all"]["outcomes"].values())
    assert figures["server"]["requests"] >= figures["all"]["requests"] * 0.5


def test_replayed_traces_get_only_what_an_earlier_answer_said(
    tiny: ModelArtifact, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_gateway(tiny, options={"answer": "self.items = []\n"}) as live:
        assert replay(["--base-url", live.url, "--files", "3"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["wrong"] == 0
    assert figures["from_memory"] > 20
    assert figures["asked_anew"] > 0


def test_only_this_machine_is_loaded(capfd: pytest.CaptureFixture[str]) -> None:
    assert loadtest(["--base-url", "http://192.0.2.1:80", "--users", "1", "--duration", "1"]) == 2
    assert "this machine only" in capfd.readouterr().err
