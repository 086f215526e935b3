"""Continue's own adapters (npm): Mistral, DeepSeek and OpenAI completions, and leaving early.

The rest of Continue, its templates and its filters, needs an editor and does not run here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.npm_client import ClientError, NpmClient, npm_client

pytestmark = pytest.mark.needs("node")

ANSWER = "len(items)):\n    total += items[i]\n# end"
BODY = {"prompt": "for i in range(", "suffix": "\nprint(i)", "temperature": 0, "max_tokens": 64}
# What Continue sends beside its StarCoder template: more strings than OpenAI itself takes.
STOPS = [
    "<fim_prefix>",
    "<fim_suffix>",
    "<fim_middle>",
    "<file_sep>",
    "<|endoftext|>",
    "</fim_middle>",
]
STOPS += ["</code>", "/src/", "#- coding: utf-8", "```", "\nprint(i)", "<|eot|>"]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NpmClient]:
    with npm_client("continue_adapters", tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    options = {"answer": ANSWER, "token_delay_s": 0.001}
    with live_gateway(tiny, options=options, api_key="key") as gateway:
        yield gateway


def model(live: LiveGateway, provider: str, key: str = "key", **more: Any) -> dict[str, Any]:
    base = f"{live.url}/" if provider == "deepseek" else f"{live.url}/v1/"
    return {"provider": provider, "model": "tiny", "apiBase": base, "apiKey": key, **more}


def said(chunks: list[Any]) -> str:
    return "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)


@pytest.mark.parametrize("provider", ["mistral", "deepseek"])
def test_a_middle_is_filled(adapters: NpmClient, live: LiveGateway, provider: str) -> None:
    chunks = adapters.stream("fim", model=model(live, provider), body=BODY | {"stop": STOPS})
    assert said(chunks) == ANSWER
    assert len(chunks) > 3


@pytest.mark.parametrize("provider", ["openai", "vllm", "llama.cpp", "lmstudio"])
def test_prompts_that_continue_laid_out_are_continued(
    adapters: NpmClient, live: LiveGateway, provider: str
) -> None:
    body = BODY | {"prompt": "<fim_prefix>a<fim_suffix>b<fim_middle>", "stop": STOPS}
    del body["suffix"]
    chunks = adapters.stream("stream", model=model(live, provider), body=body)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == ANSWER
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    whole = adapters.call("complete", model=model(live, provider), body=body)
    assert whole["choices"][0]["text"] == ANSWER
    # The tags are understood: the engine gets what it gets for the same prefix and suffix.
    apart = body | {"prompt": "a", "suffix": "b"}
    same = adapters.call("complete", model=model(live, provider), body=apart)
    assert whole["usage"]["prompt_tokens"] == same["usage"]["prompt_tokens"]


@pytest.mark.parametrize("provider", ["mistral", "deepseek"])
def test_an_open_gateway_does_not_mind_a_missing_key(
    adapters: NpmClient, tiny: ModelArtifact, provider: str
) -> None:
    with live_gateway(tiny, options={"answer": ANSWER}) as live:
        keyless = model(live, provider)
        del keyless["apiKey"]
        assert said(adapters.stream("fim", model=keyless, body=BODY)) == ANSWER


def test_usage_comes_only_when_asked_for(adapters: NpmClient, live: LiveGateway) -> None:
    openai = model(live, "openai")
    assert all(chunk["choices"] for chunk in adapters.stream("stream", model=openai, body=BODY))
    asked = BODY | {"stream_options": {"include_usage": True}}
    *_, last = adapters.stream("stream", model=openai, body=asked)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0


def test_the_model_is_found_with_its_context(adapters: NpmClient, live: LiveGateway) -> None:
    (found,) = adapters.call("models", model=model(live, "vllm"))
    assert (found["id"], found["max_model_len"]) == ("tiny", 1024)


@pytest.mark.parametrize("provider", ["mistral", "deepseek"])
def test_an_abort_before_the_first_token_frees_the_engine(
    adapters: NpmClient, tiny: ModelArtifact, provider: str
) -> None:
    with live_gateway(tiny, options={"first_delay_s": 60}) as live:
        number = adapters.start("fim", model=model(live, provider), body=BODY)
        live.wait(lambda: live.engine.stats().running == 1, "the request runs")
        adapters.abort(number)
        live.wait_free()
        assert live.cancels("disconnect") == 1


@pytest.mark.parametrize(
    ("provider", "func"), [("mistral", "fim"), ("deepseek", "fim"), ("openai", "stream")]
)
def test_an_abort_in_a_stream_frees_the_engine(
    adapters: NpmClient, tiny: ModelArtifact, provider: str, func: str
) -> None:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options) as live:
        body = BODY | {"max_tokens": 4096}
        number = adapters.start(func, model=model(live, provider), body=body)
        adapters.first_piece(number)
        adapters.abort(number)
        live.wait_free()
        assert live.cancels("disconnect") == 1


def test_a_session_header_ends_the_older_request_quietly(
    adapters: NpmClient, tiny: ModelArtifact
) -> None:
    # Without memory: with it the newer request may wait for what the older one has begun.
    with live_gateway(tiny, options={"first_delay_s": 60}, drain_s=0.1, typeahead_mb=0) as live:
        headers = {"headers": {"X-Tabwright-Session": "laptop"}}
        one = model(live, "mistral", requestOptions=headers)
        number = adapters.start("fim", model=one, body=BODY)
        live.wait(lambda: live.engine.stats().running == 1, "the request runs")
        newer = adapters.start("fim", model=one, body=BODY | {"prompt": "for i in range(1"})
        assert adapters.end(number) is None
        assert live.cancels("superseded") == 1
        adapters.abort(newer)
        live.wait_free()


@pytest.mark.parametrize(
    ("provider", "func"), [("mistral", "fim"), ("deepseek", "fim"), ("openai", "stream")]
)
def test_errors_say_what_is_wrong(
    adapters: NpmClient, live: LiveGateway, provider: str, func: str
) -> None:
    with pytest.raises(ClientError, match="API key"):
        adapters.call(func, model=model(live, provider, key="wrong"), body=BODY)
    with pytest.raises(ClientError, match="gpt-4"):
        adapters.call(func, model=model(live, provider), body=BODY | {"model": "gpt-4"})


def test_an_engine_that_fails_in_a_stream_is_told(adapters: NpmClient, tiny: ModelArtifact) -> None:
    with live_gateway(tiny, options={"answer": ANSWER, "fail_after": 3}) as live:
        for provider in ("mistral", "deepseek"):
            with pytest.raises(ClientError, match="Error streaming response"):
                adapters.call("fim", model=model(live, provider), body=BODY)
