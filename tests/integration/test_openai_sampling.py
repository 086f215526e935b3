"""The official openai SDK: what steers the choice of tokens, and how likely they were.

The scripted engine's probabilities are made up: the token of the script has -0.5, another one
-1.5 - (id % 8) / 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Completion
from openai.types.completion_choice import Logprobs

from tabwright.artifact import ModelArtifact
from tabwright.tokenizer import Tokenizer
from tests.fakes.live_gateway import LiveGateway, live_gateway

ANSWER = "naïve café → 東京 🙂\n# end"
# The script itself finds all it says equally likely; a penalty makes it choose by probability.
SAMPLED: dict[str, Any] = {"temperature": 1, "seed": 4, "max_tokens": 6, "presence_penalty": 0.01}


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}, max_choices=16) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def modest(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    """An engine that can do none of it."""
    refuses = frozenset(
        {"presence_penalty", "frequency_penalty", "logit_bias", "alternatives", "prompt_logprobs"}
    )
    with live_gateway(tiny, options={"refuses": refuses}) as gateway:
        yield gateway


@pytest.fixture
def client(live: LiveGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live.url}/v1", api_key="-", max_retries=0) as client:
        yield client
    live.wait_free()


@pytest.fixture
def tokenizer(tiny: ModelArtifact) -> Tokenizer:
    return tiny.tokenizer


def ask(client: OpenAI, **fields: Any) -> Completion:
    create: Any = client.completions.create
    answer: Completion = create(
        **({"model": "tiny", "prompt": "a = ", "temperature": 0, "max_tokens": 64} | fields)
    )
    return answer


def ask_stream(client: OpenAI, **fields: Any) -> list[Completion]:
    chunks: Any = ask(client, stream=True, **fields)
    return list(chunks)


def table(answer: Completion, index: int = 0) -> Logprobs:
    shown = answer.choices[index].logprobs
    assert shown
    assert shown.tokens
    assert shown.token_logprobs
    assert shown.text_offset is not None
    assert len(shown.tokens) == len(shown.token_logprobs) == len(shown.text_offset)
    return shown


def begins_with(text: str, offset: int, token: str) -> bool:
    """The text at an offset is what the token says, whole characters or bytes of one."""
    if not token.startswith("bytes:"):
        return text.startswith(token, offset)
    raw = bytes(int(byte, 16) for byte in token.removeprefix("bytes:").split("\\x")[1:])
    return raw in text[offset:].encode()


def test_a_bias_forces_and_bans_tokens(client: OpenAI, tokenizer: Tokenizer) -> None:
    (letter,) = tokenizer.encode("z")
    forced = ask(client, logit_bias={str(letter): 100}, max_tokens=5)
    assert forced.choices[0].text == "zzzzz"
    first = tokenizer.encode(ANSWER)[0]
    banned = ask(client, logit_bias={str(first): -100}, logprobs=0)
    assert tokenizer.shown(first) not in (table(banned).tokens or [])


@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
def test_a_penalty_ends_a_repetition(client: OpenAI, tokenizer: Tokenizer, field: str) -> None:
    y, z = tokenizer.encode("y") + tokenizer.encode("z")
    # The difference of what the engine finds of the two is made up to one.
    bias = {str(y): 90, str(z): 90 - 1 + (z % 8 - y % 8) / 4}
    assert ask(client, logit_bias=bias, max_tokens=4).choices[0].text == "yyyy"
    for amount, text in ((0.9, "y" * 2), (1.1, "yz")):
        answer = ask(client, logit_bias=bias, max_tokens=2, **{field: amount})
        assert answer.choices[0].text == text


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("stream", [False, True])
def test_alternatives_are_shown_with_the_chosen_token(
    client: OpenAI, tokenizer: Tokenizer, count: int, stream: bool
) -> None:
    if stream:
        chunks = ask_stream(client, logprobs=count)
        tables = [chunk.choices[0].logprobs for chunk in chunks]
        tokens = [token for shown in tables if shown for token in shown.tokens or []]
        tops = [top for shown in tables if shown for top in shown.top_logprobs or []]
    else:
        shown = table(ask(client, logprobs=count))
        tokens, tops = shown.tokens or [], shown.top_logprobs or []
    assert tokens == [tokenizer.shown(i) for i in tokenizer.encode(ANSWER)]
    for token, top in zip(tokens, tops, strict=True):
        assert top
        assert len(top) == count
        assert max(top.values()) == top[token] == -0.5


def test_an_unlikely_token_stands_beside_the_likeliest(
    client: OpenAI, tokenizer: Tokenizer
) -> None:
    (letter,) = tokenizer.encode("z")
    shown = table(ask(client, logprobs=2, max_tokens=1, logit_bias={str(letter): 100}))
    assert shown.top_logprobs
    assert len(shown.top_logprobs[0]) == 3
    assert shown.top_logprobs[0]["z"] == pytest.approx(-1.5 - letter % 8 / 4)


def test_logprobs_of_zero_are_those_of_the_chosen_tokens_alone(client: OpenAI) -> None:
    shown = table(ask(client, logprobs=0))
    assert set(shown.token_logprobs or []) == {-0.5}
    assert shown.top_logprobs is None


def test_parts_of_characters_are_shown_as_bytes_at_their_offset(client: OpenAI) -> None:
    answer = ask(client, logprobs=0)
    shown = table(answer)
    text = answer.choices[0].text
    assert text == ANSWER
    assert any(token.startswith("bytes:") for token in shown.tokens or [])
    assert shown.text_offset == sorted(shown.text_offset or [])
    for token, offset in zip(shown.tokens or [], shown.text_offset or [], strict=True):
        assert begins_with(text, offset, token), (token, offset)


@pytest.mark.parametrize("stop", ["東", "fé →", "京 🙂", "\n"])
@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_behind_a_stop_string_are_left_out(
    client: OpenAI, stop: str, echo: bool, stream: bool
) -> None:
    fields: dict[str, Any] = {"logprobs": 0, "stop": stop, "echo": echo, "prompt": "é = "}
    whole = ask(client, **fields)
    text, shown = whole.choices[0].text, table(whole)
    assert text == ("é = " if echo else "") + ANSWER[: ANSWER.index(stop)]
    assert all(offset < len(text) for offset in shown.text_offset or [])
    for token, offset in zip(shown.tokens or [], shown.text_offset or [], strict=True):
        last = offset + len(token) > len(text)
        assert last or begins_with(text, offset, token)
    if stream:
        chunks = ask_stream(client, **fields)
        assert "".join(chunk.choices[0].text for chunk in chunks) == text
        parts = [chunk.choices[0].logprobs for chunk in chunks]
        assert [t for part in parts if part for t in part.tokens or []] == shown.tokens
        assert [o for part in parts if part for o in part.text_offset or []] == shown.text_offset


def test_echo_scores_a_text_without_generating(
    live: LiveGateway, client: OpenAI, tokenizer: Tokenizer
) -> None:
    text = "größe = 'naïve 🙂'"
    before = live.engine.stats().generated_tokens
    answer = ask(client, prompt=text, echo=True, max_tokens=0, logprobs=1)
    assert answer.choices[0].text == text
    assert answer.choices[0].finish_reason == "length"
    shown = table(answer)
    assert shown.tokens == [tokenizer.shown(i) for i in tokenizer.encode(text)]
    assert shown.token_logprobs
    assert shown.token_logprobs[0] is None
    assert set(shown.token_logprobs[1:]) == {-0.5}
    assert shown.top_logprobs
    assert shown.top_logprobs[0] is None
    assert all(top and max(top.values()) == -0.5 for top in shown.top_logprobs[1:])
    for token, offset in zip(shown.tokens or [], shown.text_offset or [], strict=True):
        assert begins_with(text, offset, token)
    assert live.engine.stats().generated_tokens == before
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        len(shown.tokens or []),
        0,
    )


def test_echo_with_an_answer_has_one_table_for_both(client: OpenAI) -> None:
    answer = ask(client, prompt="é = ", echo=True, logprobs=2)
    text, shown = answer.choices[0].text, table(answer)
    assert text == "é = " + ANSWER
    assert (shown.token_logprobs or [])[0] is None
    assert None not in (shown.token_logprobs or [])[1:]
    for token, offset in zip(shown.tokens or [], shown.text_offset or [], strict=True):
        assert begins_with(text, offset, token)


def test_prompts_times_choices_times_echo_times_tables_stay_apart(
    client: OpenAI, tokenizer: Tokenizer
) -> None:
    prompts = ["a = ", "größe = "]
    for given in (prompts, [tokenizer.encode(prompt) for prompt in prompts]):
        answer = ask(
            client, prompt=given, n=2, echo=True, logprobs=1, temperature=1, seed=4, max_tokens=9
        )
        assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
        for index, choice in enumerate(answer.choices):
            prompt = prompts[index // 2]
            assert choice.text.startswith(prompt)
            shown = table(answer, index)
            own = tokenizer.encode(prompt)
            assert (shown.tokens or [])[: len(own)] == [tokenizer.shown(i) for i in own]
            assert (shown.text_offset or [])[len(own)] == len(prompt)
            assert len(shown.tokens or []) == len(own) + 9
        assert len({choice.text for choice in answer.choices}) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_no_tokens_are_an_empty_answer_without_the_engine(
    live: LiveGateway, client: OpenAI, stream: bool
) -> None:
    before = live.engine.stats()
    for echo in (False, True):
        fields: dict[str, Any] = {"max_tokens": 0, "echo": echo}
        chunks = ask_stream(client, **fields) if stream else [ask(client, **fields)]
        text = "".join(chunk.choices[0].text for chunk in chunks)
        assert text == ("a = " if echo else "")
        assert chunks[-1].choices[0].finish_reason == "length"
    assert live.engine.stats() == before


def test_best_of_shows_the_likeliest_of_what_was_generated(client: OpenAI) -> None:
    fields = SAMPLED | {"logprobs": 0}
    every = ask(client, n=8, **fields)
    means = {
        choice.text: sum(table(every, index).token_logprobs or []) / 6
        for index, choice in enumerate(every.choices)
    }
    assert len(set(means.values())) > 3
    best = ask(client, n=2, best_of=8, **fields)
    wanted = sorted(means, key=lambda text: means[text], reverse=True)[:2]
    assert [choice.text for choice in best.choices] == wanted
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage
    assert best.usage.completion_tokens == 8 * 6, "what was generated is counted"


def test_best_of_is_chosen_for_each_prompt(client: OpenAI) -> None:
    one = ask(client, best_of=6, **SAMPLED).choices[0].text
    both = ask(client, prompt=["a = ", "b = "], best_of=6, **SAMPLED)
    assert [choice.text for choice in both.choices] == [one, one]


def test_best_of_equal_to_n_is_n_and_may_be_streamed(client: OpenAI) -> None:
    answer = ask(client, n=2, best_of=2)
    assert len(answer.choices) == 2
    assert ask_stream(client, n=2, best_of=2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 4, "stream": True}, "best_of"),
        ({"best_of": 17}, "best_of"),
        ({"n": 17}, "n"),
        ({"best_of": 9, "prompt": ["a", "b"]}, "best_of"),
        ({"presence_penalty": 2.01}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"logit_bias": {"7": 101}}, "logit_bias.7"),
        ({"logit_bias": {"seven": 1}}, "logit_bias"),
        ({"logit_bias": {"640": 1}}, "logit_bias"),
        ({"logprobs": 6}, "logprobs"),
        ({"echo": True, "logprobs": 1, "suffix": "b"}, "echo"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(
    client: OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"logit_bias": {"7": 1}}, "logit_bias"),
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": 0, "echo": True}, "echo"),
    ],
    ids=str,
)
def test_what_the_engine_cannot_do_is_refused_by_name(
    modest: LiveGateway, fields: dict[str, Any], param: str
) -> None:
    with OpenAI(base_url=f"{modest.url}/v1", api_key="-", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="engine") as caught:
            ask(client, **fields)
        assert caught.value.param == param
        neutral = {"presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "logprobs": 0}
        assert ask(client, **neutral).choices[0].text


def test_copilots_alternatives_cost_nothing(modest: LiveGateway) -> None:
    base = f"{modest.url}/v1/engines/copilot-codex"
    with OpenAI(base_url=base, api_key="-", max_retries=0) as client:
        shown = table(ask(client, model="", logprobs=2))
    assert shown.top_logprobs
    assert [list(top) for top in shown.top_logprobs if top] == [[t] for t in shown.tokens or []]


def test_the_newer_name_of_the_length_counts_before_the_older(client: OpenAI) -> None:
    for newer, tokens in ((3, 3), (0, 0)):
        answer = ask(client, max_tokens=7, extra_body={"max_completion_tokens": newer})
        assert answer.usage
        assert answer.usage.completion_tokens == tokens


def test_a_seed_repeats_a_sample_whoever_asks(client: OpenAI) -> None:
    texts = {
        ask(client, temperature=1, seed=7, max_tokens=9, user=user).choices[0].text
        for user in ("ann", "bob")
    }
    assert len(texts) == 1
