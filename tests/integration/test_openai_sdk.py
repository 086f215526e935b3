"""The official openai SDK: whole answers, streams, errors, and leaving early."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, complete, live_gateway

ANSWER = "len(items)):\n    total += items[i]\n# end"


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    options = {"answer": ANSWER, "token_delay_s": 0.001}
    with live_gateway(tiny, options=options, api_key="key") as gateway:
        yield gateway


@pytest.fixture
def client(live: LiveGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live.url}/v1", api_key="key", max_retries=0) as client:
        yield client


def test_a_middle_is_filled(client: OpenAI) -> None:
    answer = client.completions.create(
        model="tiny",
        prompt="for i in range(",
        suffix="\nprint(total)",
        max_tokens=64,
        temperature=0,
    )
    assert answer.choices[0].text == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.object == "text_completion"


def test_a_stream_says_the_same_as_a_whole_answer(client: OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model="tiny",
            prompt="for i in range(",
            max_tokens=64,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(c.choices[0].text for c in chunks[:-1]) == ANSWER
    assert len({c.id for c in chunks}) == 1
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage


def test_no_usage_chunk_is_sent_unasked(client: OpenAI) -> None:
    stream = client.completions.create(model="tiny", prompt="a", stream=True)
    assert all(chunk.choices for chunk in stream)


@pytest.mark.parametrize("base", ["beta", "v1/engines/copilot-codex"])
def test_other_addresses_of_the_protocol_answer_the_same(live: LiveGateway, base: str) -> None:
    with OpenAI(base_url=f"{live.url}/{base}", api_key="key", max_retries=0) as client:
        create = client.completions.create
        answer = create(model="", prompt="a", suffix="b", temperature=0, max_tokens=64)
        assert answer.choices[0].text == ANSWER
        stream = create(model="", prompt="a", temperature=0, max_tokens=64, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == ANSWER


def test_deepseeks_address_has_a_default_length_for_editors(live: LiveGateway) -> None:
    with OpenAI(base_url=f"{live.url}/beta", api_key="key", max_retries=0) as client:
        answer = client.completions.create(model="tiny", prompt="a", suffix="", temperature=0)
        assert answer.choices[0].text == ANSWER


def test_the_default_length_is_sixteen_tokens(client: OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="a", temperature=0)
    assert answer.usage
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "stop",
    ["\n", ["\n"], [f"<|unused_{n}|>" for n in range(20)] + ["\n"]],
    ids=["text", "list", "long list"],
)
def test_stop_strings_end_the_answer(client: OpenAI, stop: str | list[str], stream: bool) -> None:
    create = client.completions.create
    if stream:
        chunks = list(create(model="tiny", prompt="a", temperature=0, stop=stop, stream=True))
        text = "".join(chunk.choices[0].text for chunk in chunks)
        finish: str | None = chunks[-1].choices[0].finish_reason
    else:
        choice = create(model="tiny", prompt="a", temperature=0, stop=stop).choices[0]
        text, finish = choice.text, choice.finish_reason
    assert text == "len(items)):"
    assert finish == "stop"


def test_a_stop_string_frees_the_engine_early(live: LiveGateway, client: OpenAI) -> None:
    before = live.engine.stats().generated_tokens
    client.completions.create(model="tiny", prompt="a", temperature=0, stop=":", max_tokens=64)
    live.wait_free()
    assert live.engine.stats().generated_tokens - before < 14
    assert live.cancels("disconnect") == 0


def test_several_prompts_and_choices_are_numbered(client: OpenAI) -> None:
    answer = client.completions.create(
        model="tiny", prompt=["a", "b"], n=3, temperature=1, seed=5, max_tokens=12
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3, 4, 5]
    assert len({choice.text for choice in answer.choices[:3]}) == 3
    # The scripted engine looks at the seed only, so equal seeds show as equal texts.
    texts = [choice.text for choice in answer.choices]
    assert texts[:3] == texts[3:]


def test_greedy_choices_are_made_once_and_shown_often(live: LiveGateway, client: OpenAI) -> None:
    before = live.engine.stats().generated_tokens
    answer = client.completions.create(model="tiny", prompt="a", n=4, temperature=0, max_tokens=8)
    assert len({choice.text for choice in answer.choices}) == 1
    assert len(answer.choices) == 4
    assert live.engine.stats().generated_tokens - before == 8
    assert answer.usage
    assert answer.usage.completion_tokens == 32


def test_several_choices_stream_side_by_side(client: OpenAI) -> None:
    stream = client.completions.create(
        model="tiny", prompt="a", n=3, temperature=1, seed=5, max_tokens=12, stream=True
    )
    texts = {0: "", 1: "", 2: ""}
    finished = 0
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
        finished += chunk.choices[0].finish_reason is not None
    assert finished == 3
    assert len(set(texts.values())) == 3


def test_a_prompt_of_token_ids_is_taken_as_it_is(live: LiveGateway, client: OpenAI) -> None:
    ids = live.engine.artifact.tokenizer.encode("for i in")
    for prompt in (ids, [ids, ids]):
        answer = client.completions.create(model="tiny", prompt=prompt, temperature=0, echo=True)
        assert answer.choices[-1].text.startswith("for i in" + "len(")


def test_chosen_tokens_come_with_their_probability(client: OpenAI) -> None:
    answer = client.completions.create(
        model="tiny", prompt="a", temperature=0, logprobs=1, max_tokens=5
    )
    shown = answer.choices[0].logprobs
    assert shown
    assert "".join(shown.tokens or []) == answer.choices[0].text
    assert shown.token_logprobs == [-0.5] * 5
    assert shown.text_offset
    assert shown.text_offset[0] == 0


def test_models_are_listed_with_their_context(client: OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["tiny"]
    assert models[0].model_dump()["max_model_len"] == 1024
    assert client.models.retrieve("tiny").id == "tiny"


def test_an_empty_model_name_means_the_default(client: OpenAI) -> None:
    assert client.completions.create(model="", prompt="a").model == "tiny"


def test_errors_are_the_sdks_own(live: LiveGateway, client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt-4", prompt="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.completions.create(model="tiny", prompt="a", temperature=-1)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="tiny", prompt="word = 1\n" * 3000)
    assert long.value.code == "context_length_exceeded"
    with (
        OpenAI(base_url=f"{live.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_overload_is_said_at_once_with_the_time_to_wait(tiny: ModelArtifact) -> None:
    options = {"first_delay_s": 60}
    with (
        live_gateway(tiny, options=options, max_running=1, max_waiting=0, drain_s=0.1) as live,
        OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client,
        complete(live.port, body={"prompt": "a"}),
    ):
        live.wait(lambda: live.engine.stats().running == 1, "the slot is taken")
        with pytest.raises(openai.InternalServerError) as busy:
            client.completions.create(model="tiny", prompt="a")
        assert busy.value.status_code == 503
        assert busy.value.response.headers["retry-after"] == "1"
        assert busy.value.code == "engine_overloaded"


def test_a_client_that_gives_up_frees_the_engine(tiny: ModelArtifact) -> None:
    with (
        live_gateway(tiny, options={"first_delay_s": 60}) as live,
        OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(openai.APITimeoutError):
            client.completions.create(model="tiny", prompt="a", timeout=0.3)
        live.wait_free()
        assert live.cancels("disconnect") == 1


@pytest.mark.anyio
async def test_the_async_client_streams_and_may_leave(live: LiveGateway) -> None:
    async with AsyncOpenAI(base_url=f"{live.url}/v1", api_key="key", max_retries=0) as client:
        stream = await client.completions.create(
            model="tiny", prompt="a", stream=True, max_tokens=64, temperature=0
        )
        async with stream:
            first = await anext(aiter(stream))
            assert first.choices[0].text
        answer = await client.completions.create(model="tiny", prompt="a", temperature=0)
        assert answer.choices[0].text.startswith("len(")
    live.wait_free()
