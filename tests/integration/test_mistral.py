"""Mistral's fill-in-the-middle, asked as Continue, minuet and cmp-ai ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import live_gateway

ANSWER = "len(items)):\n    total += items[i]\n# end"
PATH = "/v1/fim/completions"
ASKED = {"model": "tiny", "prompt": "for i in range(", "suffix": "\nprint(i)", "temperature": 0}


@pytest.fixture(scope="module")
def client(tiny: ModelArtifact) -> Iterator[httpx.Client]:
    options = {"answer": ANSWER}
    with live_gateway(tiny, options=options) as live, httpx.Client(base_url=live.url) as client:
        yield client


def chunks(client: httpx.Client, **changes: Any) -> list[Any]:
    body = ASKED | {"stream": True} | changes
    *frames, done = client.post(PATH, json=body).text.strip().split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def test_the_answer_is_a_message_and_as_long_as_editors_want(client: httpx.Client) -> None:
    answer = client.post(PATH, json=ASKED).json()
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] > answer["usage"]["prompt_tokens"] > 0


def test_a_stream_has_deltas_of_one_answer(client: httpx.Client) -> None:
    got = chunks(client)
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in got) == ANSWER
    assert len({chunk["id"] for chunk in got}) == 1
    assert got[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_chunk_without_choices_comes_only_when_asked_for(client: httpx.Client) -> None:
    assert all(chunk["choices"] for chunk in chunks(client))
    *_, last = chunks(client, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0


def test_several_choices_are_numbered(client: httpx.Client) -> None:
    body = ASKED | {"n": 3, "temperature": 1, "random_seed": 5, "max_tokens": 8}
    choices = client.post(PATH, json=body).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in choices}) == 3


def test_fields_that_clients_send_without_meaning_anything_are_fine(client: httpx.Client) -> None:
    extra = {"min_tokens": 0, "stop": ["\n"], "top_p": None, "random_seed": None}
    answer = client.post(PATH, json=ASKED | extra, headers={"x-api-key": "k"})
    assert answer.json()["choices"][0]["message"]["content"] == "len(items)):"
