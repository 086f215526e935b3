"""What a newcomer gets from `make serve`: the bundled model, the CPU engine, real clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.tabby_agent import document, tabby_agent

pytestmark = [
    pytest.mark.needs("cpu"),
    pytest.mark.skipif(not BUNDLED_MODEL.exists(), reason="no bundled model in this checkout"),
]

PREFIX = "def total(items):\n    result = 0\n    for i in range(len("
SUFFIX = "\n        result += items[i]\n    return result\n"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveGateway]:
    with live_gateway(ModelArtifact.load(BUNDLED_MODEL), "cpu") as gateway:
        yield gateway


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_openai_sdk_gets_a_completion(live: LiveGateway, stream: bool) -> None:
    with OpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        create = client.completions.create
        if stream:
            chunks = create(
                model="", prompt=PREFIX, suffix=SUFFIX, max_tokens=24, temperature=0, stream=True
            )
            text = "".join(chunk.choices[0].text for chunk in chunks)
        else:
            answer = create(model="", prompt=PREFIX, suffix=SUFFIX, max_tokens=24, temperature=0)
            text = answer.choices[0].text
    assert text.strip()


@pytest.mark.needs("node")
def test_tabby_agent_gets_a_completion(live: LiveGateway, tmp_path: Path) -> None:
    with tabby_agent(tmp_path) as agent:
        agent.initialize(live.url)
        assert agent.call("getStatus") == "ready"
        shown = []
        # The agent drops what it finds trivial, so it gets more than one chance.
        for text in (
            f"{PREFIX}|{SUFFIX}",
            "import os\n\n\ndef read(path):\n    with open(|\n        return file.read()\n",
            "class Point:\n    def __init__(self, x, y):\n        self.x = |\n",
        ):
            answer = agent.call("provideCompletions", document(text))
            shown += [choice["text"] for choice in answer["choices"]]
        assert any(text.strip() for text in shown)
