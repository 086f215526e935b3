"""The official huggingface_hub client against the routes of Text Generation Inference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import OverloadedError, UnknownError, ValidationError

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, complete, live_gateway

ANSWER = "len(items)):\n    total += items[i]\n# end"
PROMPT = "for i in range("


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}, api_key="key") as gateway:
        yield gateway


def at(live: LiveGateway, path: str, key: str = "key") -> InferenceClient:
    """Take a whole address as the model; the client does not choose between the two paths."""
    return InferenceClient(model=f"{live.url}{path}", token=key)


def test_a_prompt_is_continued(live: LiveGateway) -> None:
    answer = at(live, "/generate").text_generation(PROMPT, max_new_tokens=64, details=True)
    assert answer.generated_text == ANSWER
    assert answer.details
    assert answer.details.finish_reason in ("eos_token", "stop_sequence")
    assert answer.details.generated_tokens > 10


def test_stop_strings_are_kept(live: LiveGateway) -> None:
    client = at(live, "/generate")
    assert client.text_generation(PROMPT, max_new_tokens=64, stop=["\n"]) == "len(items)):"


def test_a_stream_says_the_same(live: LiveGateway) -> None:
    client = at(live, "/generate_stream")
    assert "".join(client.text_generation(PROMPT, max_new_tokens=64, stream=True)) == ANSWER
    *_, last = client.text_generation(PROMPT, max_new_tokens=64, stream=True, details=True)
    assert last.generated_text == ANSWER


def test_errors_are_the_clients_own(live: LiveGateway) -> None:
    stranger, client = at(live, "/generate", key="wrong"), at(live, "/generate")
    with pytest.raises(UnknownError, match="API key"):
        stranger.text_generation(PROMPT)
    with pytest.raises(ValidationError, match="temperature"):
        client.text_generation(PROMPT, temperature=-1)


def test_a_busy_gateway_is_an_overloaded_one(tiny: ModelArtifact) -> None:
    options = {"first_delay_s": 60}
    with (
        live_gateway(tiny, options=options, max_running=1, max_waiting=0, drain_s=0.1) as live,
        complete(live.port, body={"prompt": "a"}),
    ):
        live.wait(lambda: live.engine.stats().running == 1, "the slot is taken")
        client = at(live, "/generate")
        with pytest.raises(OverloadedError):
            client.text_generation(PROMPT)


def test_a_client_that_leaves_a_stream_frees_the_engine(tiny: ModelArtifact) -> None:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options) as live:
        with at(live, "/generate_stream") as client:
            pieces = client.text_generation(PROMPT, max_new_tokens=700, stream=True)
            assert next(iter(pieces))
        live.wait_free()
        assert live.cancels("disconnect") == 1
