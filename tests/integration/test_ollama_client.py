"""The official ollama client: discovery, whole answers, streams, errors, and leaving early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

ANSWER = "len(items)):\n    total += items[i]\n# end"
GREEDY = {"temperature": 0, "num_predict": 64}


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    options = {"answer": ANSWER, "token_delay_s": 0.001}
    with live_gateway(tiny, options=options, api_key="key") as gateway:
        yield gateway


@pytest.fixture
def client(live: LiveGateway) -> Iterator[ollama.Client]:
    with ollama.Client(live.url, headers={"Authorization": "Bearer key"}) as client:
        yield client


def test_a_middle_is_filled(client: ollama.Client) -> None:
    answer = client.generate("tiny", "for i in range(", "\nprint(total)", options=GREEDY)
    assert answer.response == ANSWER
    assert answer.model == "tiny"
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.prompt_eval_count
    assert answer.eval_count
    assert answer.total_duration
    assert answer.total_duration >= (answer.eval_duration or 0) > 1_000_000, "nanoseconds"


def test_a_stream_says_the_same_and_ends_with_the_counts(client: ollama.Client) -> None:
    *pieces, last = client.generate("tiny:latest", "a", "b", options=GREEDY, stream=True)
    assert "".join(piece.response or "" for piece in pieces) == ANSWER
    assert not any(piece.done for piece in pieces)
    assert (last.response, last.done, last.model) == ("", True, "tiny:latest")
    assert last.eval_count


def test_a_stream_is_what_a_request_gets_that_does_not_say(live: LiveGateway) -> None:
    key = {"Authorization": "Bearer key"}
    body = {"model": "tiny", "prompt": "a", "raw": True, "keep_alive": "5m", "options": GREEDY}
    answer = httpx.post(f"{live.url}/api/generate", json=body, headers=key)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(answer.text.splitlines()) > 3


def test_stop_strings_and_length_are_kept(client: ollama.Client) -> None:
    answer = client.generate("tiny", "a", options=GREEDY | {"stop": ["\n"]})
    assert (answer.response, answer.done_reason) == ("len(items)):", "stop")
    answer = client.generate("tiny", "a", options=GREEDY | {"num_predict": 3})
    assert (answer.eval_count, answer.done_reason) == (3, "length")


def test_without_text_the_model_is_loaded(live: LiveGateway, client: ollama.Client) -> None:
    before = live.engine.stats().generated_tokens
    answer = client.generate("tiny", keep_alive=300)
    assert (answer.response, answer.done, answer.done_reason) == ("", True, "load")
    assert live.engine.stats().generated_tokens == before


def test_show_says_that_the_model_fills_in(client: ollama.Client) -> None:
    for name in ("tiny", "tiny:latest"):
        shown = client.show(name)
        assert ".Suffix" in (shown.template or "")
        assert "insert" in (shown.capabilities or [])
        assert (shown.parameters or "").split() == ["num_ctx", "1024"]
        assert shown.modelinfo
        assert shown.modelinfo["llama.context_length"] == 1024


def test_the_one_model_is_listed_and_loaded(client: ollama.Client) -> None:
    (listed,), (loaded,) = client.list().models, client.ps().models
    assert listed.model == loaded.model == "tiny:latest"
    assert listed.size
    assert listed.details
    assert listed.details.family == "tabwright"
    assert loaded.context_length == 1024


def test_an_unknown_model_is_not_found(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'llama3' not found") as caught:
        client.generate("llama3", "a")
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="not found"):
        client.show("tiny:7b")


@pytest.mark.parametrize("field", ["format", "images"])
def test_what_would_change_the_answer_is_refused(client: ollama.Client, field: str) -> None:
    asked: Any = {"format": "json"} if field == "format" else {"images": [b"a"]}
    with pytest.raises(ollama.ResponseError, match=field) as caught:
        client.generate("tiny", "a", **asked)
    assert caught.value.status_code == 400


def test_an_engine_that_fails_in_a_stream_is_the_clients_own_error(tiny: ModelArtifact) -> None:
    with (
        live_gateway(tiny, options={"fail_after": 3}) as live,
        ollama.Client(live.url) as client,
        pytest.raises(ollama.ResponseError, match="failure"),
    ):
        list(client.generate("tiny", "a", options=GREEDY, stream=True))


def test_a_client_that_leaves_a_stream_frees_the_engine(tiny: ModelArtifact) -> None:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.02}
    with live_gateway(tiny, options=options) as live:
        with ollama.Client(live.url) as client:
            stream = client.generate("tiny", "a", options={"num_predict": -1}, stream=True)
            assert next(stream).response
            stream.close()
        live.wait_free()
        assert live.cancels("disconnect") == 1


def test_version_and_root_are_what_clients_look_for(live: LiveGateway) -> None:
    root = httpx.get(live.url)
    assert (root.status_code, root.text) == (200, "Ollama is running")
    assert httpx.head(live.url).status_code == 200
    answer = httpx.get(f"{live.url}/api/version", headers={"Authorization": "Bearer key"})
    assert answer.json()["version"].startswith("0.12.0")
    assert httpx.get(f"{live.url}/api/tags").json().keys() == {"error"}


def test_min_p_and_a_penalty_over_everything_act(client: ollama.Client) -> None:
    sampled = {"temperature": 1.5, "seed": 3, "num_predict": 8}
    greedy = client.generate("tiny", "a", options=GREEDY | {"num_predict": 8}).response
    assert client.generate("tiny", "a", options=sampled | {"min_p": 1.0}).response == greedy
    assert client.generate("tiny", "a", options=sampled).response != greedy
    repeated = GREEDY | {"num_predict": 8, "repeat_penalty": 10.0, "repeat_last_n": -1}
    assert client.generate("tiny", ANSWER, options=repeated).response != greedy
    with pytest.raises(ollama.ResponseError, match="repeat_penalty"):
        client.generate("tiny", "a", options=GREEDY | {"repeat_penalty": 1.1})
