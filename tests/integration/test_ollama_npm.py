"""The official ollama client for JavaScript, which editor plug-ins are built on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.npm_client import ClientError, NpmClient, npm_client

pytestmark = pytest.mark.needs("node")

ANSWER = "len(items)):\n    total += items[i]\n# end"
GREEDY = {"temperature": 0, "num_predict": 64}
BODY = {"model": "tiny", "prompt": "for i in range(", "suffix": "\nprint(i)", "options": GREEDY}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NpmClient]:
    with npm_client("ollama_sdk", tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}, api_key="key") as gateway:
        yield gateway


def at(live: LiveGateway) -> dict[str, Any]:
    return {"url": live.url, "key": "key"}


def test_a_middle_is_filled_whole_and_streamed(sdk: NpmClient, live: LiveGateway) -> None:
    answer = sdk.call("complete", server=at(live), body=BODY)
    assert (answer["response"], answer["done_reason"]) == (ANSWER, "stop")
    *pieces, last = sdk.stream("stream", server=at(live), body=BODY)
    assert "".join(piece["response"] for piece in pieces) == ANSWER
    assert last["done"]


def test_the_template_says_that_the_model_fills_in(sdk: NpmClient, live: LiveGateway) -> None:
    shown = sdk.call("show", server=at(live), name="tiny")
    assert ".Suffix" in shown["template"]
    assert "insert" in shown["capabilities"]


def test_an_unknown_model_is_an_error_of_the_client(sdk: NpmClient, live: LiveGateway) -> None:
    with pytest.raises(ClientError, match="ResponseError: model 'llama3' not found"):
        sdk.call("complete", server=at(live), body=BODY | {"model": "llama3"})


def test_an_abort_in_a_stream_frees_the_engine(sdk: NpmClient, tiny: ModelArtifact) -> None:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options) as live:
        body = BODY | {"options": {"num_predict": -1}}
        number = sdk.start("stream", server=at(live), body=body)
        sdk.first_piece(number)
        sdk.abort(number)
        live.wait_free()
        assert live.cancels("disconnect") == 1
