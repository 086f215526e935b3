"""The real tabby-agent (npm), the engine of the Tabby plug-ins, completes, reports and cancels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import PATIENCE_S, LiveGateway, live_gateway
from tests.fakes.tabby_agent import Agent, document, tabby_agent

pytestmark = pytest.mark.needs("node")

ANSWER = "len(items)):\n    total += items[i]\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with tabby_agent(tmp_path) as agent:
        yield agent


def test_the_agent_shows_a_completion_and_reports_what_became_of_it(
    tiny: ModelArtifact, agent: Agent
) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}) as live:
        agent.initialize(live.url)
        assert agent.call("getStatus") == "ready"
        answer = agent.call("provideCompletions", document("def f(items):\n    for i in range(|"))
        assert answer["id"].startswith("cmpl-")
        assert answer["choices"][0]["text"].startswith("len(items)")
        event = {"completion_id": answer["id"], "choice_index": 0, "view_id": "view-1"}
        assert agent.call("postEvent", event | {"type": "view"}) is True
        select = {"type": "select", "elapsed": 1200, "select_kind": "line"}
        assert agent.call("postEvent", event | select) is True
        dismiss = {"type": "dismiss", "view_id": "view-2", "elapsed": 30}
        assert agent.call("postEvent", event | dismiss) is True
        name = "tabwright_editor_events_total"
        for kind in ("shown", "accepted", "dismissed"):
            assert live.counted(name, kind=kind, protocol="tabby") == 1
        assert live.counted("tabwright_editor_events_unjoined_total", protocol="tabby") == 0
        assert agent.call("getIssues") == []


def test_the_agent_takes_its_telemetry_setting_from_us(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny) as live:
        agent.initialize(live.url)
        live.wait(lambda: bool(agent.call("getServerHealthState")), "the health state is known")
        assert agent.call("getConfig")["anonymousUsageTracking"]["disable"] is True


def test_a_cancelled_request_frees_the_engine(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny, options={"first_delay_s": 60}) as live:
        agent.initialize(live.url)
        number = agent.send("provideCompletions", document("x = |"), {"signal": True})
        _wait_running(live)
        assert agent.call("cancelRequest", number) is True
        live.wait_free()
        assert live.cancels("disconnect") == 1


def test_typing_on_ends_the_older_request(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny, options={"first_delay_s": 60}, drain_s=0.1) as live:
        agent.initialize(live.url)
        agent.send("provideCompletions", document("x = |"), {"signal": True})
        _wait_running(live)
        agent.send("provideCompletions", document("x = [1, |"), {"signal": True})
        live.wait(lambda: live.cancels("disconnect") == 1, "the older one was left")
        _wait_running(live)


def test_a_wrong_token_is_shown_as_unauthorized(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny, api_key="right") as live:
        agent.initialize(live.url, token="wrong")
        assert agent.call("getStatus") == "unauthorized"
        assert agent.call("updateConfig", "server.token", "right") is True
        _wait_status(agent, "ready")


def test_an_engine_that_fails_is_survived(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny, options={"answer": ANSWER, "fail_after": 2}) as live:
        agent.initialize(live.url)
        assert agent.call("provideCompletions", document("x = |")) is None
        live.wait_free()
        _wait_status(agent, "ready")


def test_a_restarted_gateway_is_used_without_being_told(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}) as live:
        port = live.port
        agent.initialize(live.url)
        assert agent.call("provideCompletions", document("x = |"))["choices"]
    with live_gateway(tiny, options={"answer": "again()\n"}, port=port):
        answer = agent.call("provideCompletions", document("y = |"))
        assert answer["choices"][0]["text"].startswith("again()")
        assert agent.call("getStatus") == "ready"


def test_a_gateway_that_was_away_is_found_again(tiny: ModelArtifact, agent: Agent) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}) as live:
        port = live.port
        agent.initialize(live.url)
    assert agent.call("provideCompletions", document("x = |")) is None
    _wait_status(agent, "disconnected")
    with live_gateway(tiny, options={"answer": "again()\n"}, port=port):
        # By itself the agent looks every 30 seconds; a change of settings makes it look at once.
        assert agent.call("updateConfig", "server.requestHeaders", {"X-Editor": "vim"}) is True
        _wait_status(agent, "ready")
        answer = agent.call("provideCompletions", document("y = |"))
        assert answer["choices"][0]["text"].startswith("again()")


def _wait_running(live: LiveGateway) -> None:
    live.wait(lambda: live.engine.stats().running == 1, "the request runs")


def _wait_status(agent: Agent, status: str) -> None:
    begun = time.monotonic()
    while agent.call("getStatus") != status:
        assert time.monotonic() - begun < PATIENCE_S, f"{status}: did not happen"
        time.sleep(0.01)
