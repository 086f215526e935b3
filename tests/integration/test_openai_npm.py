"""The official openai SDK for JavaScript: answers, streams, errors, retries, and leaving early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, complete, live_gateway
from tests.fakes.npm_client import ClientError, NpmClient, npm_client

pytestmark = pytest.mark.needs("node")

ANSWER = "len(items)):\n    total += items[i]\n# end"
ASKED = {"model": "tiny", "prompt": "for i in range(", "suffix": "\nx", "temperature": 0}
BODY = ASKED | {"max_tokens": 64}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NpmClient]:
    with npm_client("openai_sdk", tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    options = {"answer": ANSWER, "token_delay_s": 0.001}
    with live_gateway(tiny, options=options, api_key="key") as gateway:
        yield gateway


def at(live: LiveGateway, key: str = "key", **more: Any) -> dict[str, Any]:
    return {"url": live.url, "key": key, **more}


def test_a_middle_is_filled(sdk: NpmClient, live: LiveGateway) -> None:
    answer = sdk.call("complete", server=at(live), body=BODY)
    assert answer["choices"][0]["text"] == ANSWER
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0


def test_a_stream_says_the_same_with_usage_only_when_asked(
    sdk: NpmClient, live: LiveGateway
) -> None:
    chunks = sdk.stream("stream", server=at(live), body=BODY)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == ANSWER
    body = BODY | {"stream_options": {"include_usage": True}}
    *_, last = sdk.stream("stream", server=at(live), body=body)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0


def test_models_are_listed_with_their_context(sdk: NpmClient, live: LiveGateway) -> None:
    (model,) = sdk.call("models", server=at(live))
    assert (model["id"], model["max_model_len"]) == ("tiny", 1024)


@pytest.mark.parametrize(
    ("changes", "key", "kind", "status", "code"),
    [
        ({"model": "gpt-4"}, "key", "NotFoundError", 404, "model_not_found"),
        ({"temperature": -1}, "key", "BadRequestError", 400, "invalid_request"),
        ({}, "wrong", "AuthenticationError", 401, "invalid_api_key"),
    ],
)
def test_errors_are_the_sdks_own(
    sdk: NpmClient,
    live: LiveGateway,
    changes: dict[str, Any],
    key: str,
    kind: str,
    status: int,
    code: str,
) -> None:
    for func in ("complete", "stream"):
        with pytest.raises(ClientError) as caught:
            sdk.call(func, server=at(live, key), body=BODY | changes)
        thrown = caught.value.thrown
        assert (thrown["kind"], thrown["status"], thrown["code"]) == (kind, status, code)


def test_an_engine_that_fails_in_a_stream_is_an_error_of_the_sdk(
    sdk: NpmClient, tiny: ModelArtifact
) -> None:
    with live_gateway(tiny, options={"answer": ANSWER, "fail_after": 3}) as live:
        number = sdk.start("stream", server=at(live), body=BODY)
        assert sdk.first_piece(number)["choices"][0]["text"]
        with pytest.raises(ClientError, match="APIError"):
            sdk.end(number)


def test_a_busy_gateway_is_asked_again_after_the_time_it_said(
    sdk: NpmClient, tiny: ModelArtifact
) -> None:
    options = {"answer": "x\n" * 500, "token_delay_s": 0.1}
    with live_gateway(tiny, options=options, max_running=1, max_waiting=0) as live:
        with complete(live.port, body={"prompt": "a", "max_tokens": 500}):
            live.wait(lambda: live.engine.stats().running == 1, "the slot is taken")
            asked = time.perf_counter()
            short = ASKED | {"max_tokens": 2}
            number = sdk.start("complete", server=at(live, retries=5), body=short)
            live.wait(lambda: refused(live) >= 1, "the SDK was told to come back")
        answer = sdk.end(number)
        assert answer["choices"][0]["text"]
        # By itself the SDK comes back after half a second at most; the gateway said one.
        assert time.perf_counter() - asked >= 1.0


def test_without_retries_busy_is_thrown(sdk: NpmClient, tiny: ModelArtifact) -> None:
    options = {"first_delay_s": 60}
    with (
        live_gateway(tiny, options=options, max_running=1, max_waiting=0, drain_s=0.1) as live,
        complete(live.port, body={"prompt": "a"}),
    ):
        live.wait(lambda: live.engine.stats().running == 1, "the slot is taken")
        with pytest.raises(ClientError, match="InternalServerError") as caught:
            sdk.call("complete", server=at(live), body=BODY)
        assert (caught.value.thrown["status"], caught.value.thrown["code"]) == (
            503,
            "engine_overloaded",
        )


@pytest.mark.parametrize("func", ["complete", "stream"])
def test_aborting_before_the_first_token_frees_the_engine(
    sdk: NpmClient, tiny: ModelArtifact, func: str
) -> None:
    with live_gateway(tiny, options={"first_delay_s": 60}) as live:
        number = sdk.start(func, server=at(live), body=BODY)
        live.wait(lambda: live.engine.stats().running == 1, "the request runs")
        sdk.abort(number)
        with pytest.raises(ClientError, match="APIUserAbortError"):
            sdk.end(number)
        live.wait_free()
        assert live.cancels("disconnect") == 1


def test_aborting_a_stream_frees_the_engine(sdk: NpmClient, tiny: ModelArtifact) -> None:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options) as live:
        number = sdk.start("stream", server=at(live), body=BODY | {"max_tokens": 700})
        sdk.first_piece(number)
        sdk.abort(number)
        live.wait_free()
        assert live.cancels("disconnect") == 1
        sdk.end(number)  # the SDK ends an aborted stream quietly


def refused(live: LiveGateway) -> float:
    return live.counted("tabwright_requests_total", protocol="openai", outcome="busy")
