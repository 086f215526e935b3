"""What docs/editors.md shows is run as it stands there, pointed at a real gateway."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tabwright.artifact import ModelArtifact
from tests.conftest import CLIENTS
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.npm_client import NpmClient, npm_client
from tests.fakes.tabby_agent import document, tabby_agent
from tests.repository.editor_snippets import Snippet, snippets

ANSWER = "len(items)):\n    total += items[i]\n# end"
CONTINUE = snippets("yaml", section="Continue")


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}, api_key="key") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NpmClient]:
    with npm_client("continue_adapters", tmp_path_factory.mktemp("home")) as client:
        yield client


def output(command: list[str], source: str) -> str:
    done = subprocess.run(
        command,
        input=source,
        cwd=CLIENTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("snippet", snippets("python"), ids=lambda s: s.text.split()[1])
def test_python_shows_the_answer(snippet: Snippet, live: LiveGateway) -> None:
    assert ANSWER in output([sys.executable, "-"], snippet.pointed_at(live.url, "tiny", "key"))


@pytest.mark.needs("node")
@pytest.mark.parametrize("snippet", snippets("js"), ids=lambda s: s.text.split('"')[1])
def test_javascript_shows_the_answer(snippet: Snippet, live: LiveGateway) -> None:
    command = ["node", "--input-type=module", "-"]
    assert ANSWER in output(command, snippet.pointed_at(live.url, "tiny", "key"))


@pytest.mark.needs("node")
def test_tabbys_file_is_all_that_its_agent_needs(tmp_path: Path, live: LiveGateway) -> None:
    (snippet,) = snippets("toml", section="Tabby")
    file = tmp_path / ".tabby-client" / "agent" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(snippet.pointed_at(live.url, "tiny", "key"), encoding="utf-8")
    with tabby_agent(tmp_path) as agent:
        assert agent.call("initialize", {"config": {}, "clientProperties": {}}) is True
        assert agent.call("getStatus") == "ready"
        assert agent.call("getConfig")["anonymousUsageTracking"]["disable"] is True
        answer = agent.call("provideCompletions", document("for i in range(|"))
        assert answer["choices"][0]["text"].startswith("len(items)")


@pytest.mark.needs("node")
@pytest.mark.parametrize("number", range(len(CONTINUE)))
def test_continues_files_pass_its_own_schema(adapters: NpmClient, number: int) -> None:
    assert adapters.call("check", config=yaml.safe_load(CONTINUE[number].text)) is True


@pytest.mark.needs("node")
@pytest.mark.parametrize("provider", ["mistral", "deepseek", "openai"])
def test_continues_entries_complete(adapters: NpmClient, live: LiveGateway, provider: str) -> None:
    func = "stream" if provider == "openai" else "fim"
    body = {"prompt": "for i in range(", "suffix": "\nx", "temperature": 0, "max_tokens": 64}
    chunks = adapters.stream(func, model=entry(live, provider), body=body)
    choices = [chunk["choices"][0] for chunk in chunks]
    said = [c["text"] if func == "stream" else c["delta"]["content"] or "" for c in choices]
    assert "".join(said) == ANSWER


def entry(live: LiveGateway, provider: str) -> dict[str, Any]:
    (found,) = [
        model
        for snippet in CONTINUE
        for model in yaml.safe_load(snippet.pointed_at(live.url, "tiny", "key")).get("models", ())
        if model["provider"] == provider
    ]
    return dict(found)
