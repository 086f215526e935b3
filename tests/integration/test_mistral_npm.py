"""The official Mistral SDK for JavaScript, which checks every answer against its own schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.npm_client import ClientError, NpmClient, npm_client

pytestmark = pytest.mark.needs("node")

ANSWER = "len(items)):\n    total += items[i]\n# end"
BODY = {"model": "tiny", "prompt": "for i in range(", "suffix": "\nprint(i)", "temperature": 0}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NpmClient]:
    with npm_client("mistral_sdk", tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}, api_key="key") as gateway:
        yield gateway


def at(live: LiveGateway, key: str = "key") -> dict[str, Any]:
    return {"url": live.url, "key": key}


def test_a_middle_is_filled(sdk: NpmClient, live: LiveGateway) -> None:
    answer = sdk.call("complete", server=at(live), body=BODY | {"stop": ["\n\n"], "randomSeed": 1})
    assert answer["choices"][0]["message"]["content"] == ANSWER
    assert answer["choices"][0]["finishReason"] == "stop"
    assert answer["usage"]["totalTokens"] > answer["usage"]["promptTokens"] > 0


def test_a_stream_says_the_same(sdk: NpmClient, live: LiveGateway) -> None:
    chunks = sdk.stream("stream", server=at(live), body=BODY)
    assert "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks) == ANSWER
    assert chunks[-1]["choices"][0]["finishReason"] == "stop"


@pytest.mark.parametrize(
    ("changes", "key", "status"),
    [({"model": "codestral"}, "key", 404), ({"temperature": -1}, "key", 400), ({}, "no", 401)],
)
def test_errors_are_the_sdks_own(
    sdk: NpmClient, live: LiveGateway, changes: dict[str, Any], key: str, status: int
) -> None:
    with pytest.raises(ClientError) as caught:
        sdk.call("complete", server=at(live, key), body=BODY | changes)
    assert caught.value.thrown["status"] == status
    assert caught.value.thrown["kind"] == "SDKError"


def test_an_abort_in_a_stream_frees_the_engine(sdk: NpmClient, tiny: ModelArtifact) -> None:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options) as live:
        number = sdk.start("stream", server=at(live), body=BODY | {"maxTokens": 700})
        sdk.first_piece(number)
        sdk.abort(number)
        live.wait_free()
        assert live.cancels("disconnect") == 1
