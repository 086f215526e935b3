"""TGI's protocol, asked as llm-ls and Continue ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import live_gateway

ANSWER = "len(items)):\n    total += items[i]\n# end"


@pytest.fixture(scope="module")
def client(tiny: ModelArtifact) -> Iterator[httpx.Client]:
    options = {"answer": ANSWER}
    with live_gateway(tiny, options=options) as live, httpx.Client(base_url=live.url) as client:
        yield client


def ask(client: httpx.Client, **parameters: Any) -> Any:
    body = {"inputs": "for i in range(", "parameters": parameters}
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(client: httpx.Client, **parameters: Any) -> list[Any]:
    body = {"inputs": "for i in range(", "parameters": parameters}
    frames = client.post("/generate_stream", json=body).text.strip().split("\n\n")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def test_an_answer_is_one_object_and_greedy_unless_asked_otherwise(client: httpx.Client) -> None:
    assert ask(client) == {"generated_text": ANSWER}
    assert ask(client, temperature=1.0, seed=3) != {"generated_text": ANSWER}
    assert ask(client, do_sample=True, seed=3) != {"generated_text": ANSWER}


def test_parameters_may_be_left_out(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"inputs": "a"})
    assert answer.json() == {"generated_text": ANSWER}


def test_the_prompt_is_repeated_only_when_asked_for(client: httpx.Client) -> None:
    assert ask(client, return_full_text=True)["generated_text"] == "for i in range(" + ANSWER
    assert ask(client, return_full_text=False)["generated_text"] == ANSWER


def test_stop_strings_and_length_are_kept(client: httpx.Client) -> None:
    assert ask(client, stop=["\n"]) == {"generated_text": "len(items)):"}
    details = ask(client, max_new_tokens=3, details=True)["details"]
    assert (details["finish_reason"], details["generated_tokens"]) == ("length", 3)
    assert len(details["tokens"]) == 3
    assert details["tokens"][0]["logprob"] == -0.5


def test_the_last_event_has_the_whole_text_and_the_details(client: httpx.Client) -> None:
    *pieces, last = events(client, max_new_tokens=64)
    assert [row["index"] for row in (*pieces, last)] == list(range(1, len(pieces) + 2))
    assert all(row["generated_text"] is row["details"] is None for row in pieces)
    assert last["generated_text"] == ANSWER
    assert last["details"]["finish_reason"] == "eos_token"
    assert last["details"]["generated_tokens"] > 3
    assert "".join(row["token"]["text"] for row in (*pieces, last)) == ANSWER
    assert not any(row["token"]["special"] for row in pieces)


def test_the_best_of_several_is_shown(client: httpx.Client) -> None:
    fields = {"temperature": 1.0, "max_new_tokens": 6, "details": True, "repetition_penalty": 1.01}
    best = ask(client, seed=1, best_of=6, **fields)
    tokens = best["details"]["tokens"]
    mean = sum(token["logprob"] for token in tokens) / len(tokens)
    again = ask(client, seed=best["details"]["seed"], **fields)
    assert again["generated_text"] == best["generated_text"]
    first = ask(client, seed=1, **fields)["details"]["tokens"]
    assert mean >= sum(token["logprob"] for token in first) / len(first)
    assert best["details"]["seed"] != 1, "the first candidate is not the best one here"
    refused = client.post("/generate_stream", json={"inputs": "a", "parameters": {"best_of": 2}})
    assert refused.status_code == 400


def test_a_repetition_penalty_acts(client: httpx.Client) -> None:
    plain = ask(client)["generated_text"]
    # At 10 every token is worse than all that are not in the prompt or the answer.
    assert ask(client, repetition_penalty=10.0)["generated_text"] != plain


def test_errors_are_strings(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"inputs": ["a"]})
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["error_type"] == "validation"
