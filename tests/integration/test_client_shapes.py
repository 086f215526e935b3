"""Clients that cannot run here: the bodies they send, and the fields they cannot do without.

Written from their sources, one row a way of asking; `docs/editors.md` says which versions. A client
that can run has a test of its own instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.repository.editor_snippets import sections

ANSWER = "len(items)):\n    total += items[i]\n# end"
BEFORE, AFTER = "for i in range(", "\nprint(total)"
TAGGED = f"<fim_prefix>{BEFORE}<fim_suffix>{AFTER}<fim_middle>"
ZED_STOPS = [f"<|stop_{n}|>" for n in range(14)]
MINUET = {"model": "tiny", "prompt": f"# language: python\n{BEFORE}", "suffix": AFTER}
INFILL = {"input_prefix": "import sys\n", "prompt": BEFORE, "input_suffix": AFTER}


@dataclass(frozen=True)
class Shape:
    """One way of asking. needs: dotted names that the client's parser insists on."""

    client: str
    path: str
    body: Mapping[str, Any]
    text: str
    needs: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


COMPLETION = "choices.0.text"
USAGE = ("usage.prompt_tokens", "usage.completion_tokens", "usage.total_tokens")

WHOLE = [
    Shape(
        "Zed, open_ai_compatible_api",
        "/v1/completions",
        {"model": "tiny", "prompt": TAGGED, "max_tokens": 64, "stop": ZED_STOPS},
        COMPLETION,
        ("id", "object", "created", "model", *USAGE),
    ),
    Shape(
        "Zed, codestral",
        "/v1/fim/completions",
        {
            "model": "tiny",
            "prompt": BEFORE,
            "suffix": AFTER,
            "max_tokens": 150,
            "temperature": 0.2,
            "top_p": 1.0,
            "stream": False,
        },
        "choices.0.message.content",
        (
            "id",
            "object",
            "created",
            "model",
            *USAGE,
            "choices.0.index",
            "choices.0.message.role",
            "choices.0.finish_reason",
        ),
    ),
    Shape(
        "llama.vscode",
        "/infill",
        {
            **INFILL,
            "id_slot": 0,
            "input_extra": [{"text": "x = 1\n", "time": 1790000000000, "filename": "/home/a/b.py"}],
            "n_predict": 128,
            "n_cmpl": 1,
            "top_k": 40,
            "top_p": 0.99,
            "stream": False,
            "samplers": ["top_k", "top_p", "infill"],
            "cache_prompt": True,
            "t_max_prompt_ms": 500,
            "t_max_predict_ms": 5000,
        },
        "content",
        (
            "tokens_cached",
            "generation_settings.n_ctx",
            "timings.prompt_n",
            "timings.prompt_ms",
            "timings.prompt_per_second",
            "timings.predicted_n",
            "timings.predicted_ms",
            "timings.predicted_per_second",
        ),
    ),
    Shape(
        "llm-ls, ollama",
        "/api/generate",
        {"model": "tiny", "prompt": TAGGED, "stream": False, "options": {"temperature": 0.2}},
        "response",
    ),
    Shape(
        "llm-ls, openai",
        "/v1/completions",
        {"model": "tiny", "prompt": TAGGED, "stream": False, "temperature": 0.2, "max_tokens": 64},
        COMPLETION,
    ),
    Shape(
        "llm-ls, tgi",
        "/generate",
        {"inputs": TAGGED, "parameters": {"max_new_tokens": 60, "temperature": 0.2, "top_p": 0.95}},
        "generated_text",
    ),
]

STREAMED = [
    Shape(
        "minuet, codestral",
        "/v1/fim/completions",
        {**MINUET, "stream": True},
        "choices.0.delta.content",
        headers={"Accept": "application/json"},
    ),
    Shape(
        "minuet, openai_fim_compatible",
        "/beta/completions",
        {**MINUET, "stream": True},
        COMPLETION,
        headers={"Accept": "application/json"},
    ),
    Shape(
        "twinny",
        "/api/generate",
        {
            "model": "tiny",
            "prompt": TAGGED,
            "stream": True,
            "keep_alive": "5m",
            "options": {"temperature": 0.2, "num_predict": 128},
        },
        "response",
    ),
    Shape(
        "Copilot",
        "/v1/engines/copilot-codex/completions",
        {
            "prompt": BEFORE,
            "suffix": AFTER,
            "max_tokens": 64,
            "temperature": 0,
            "top_p": 1,
            "n": 1,
            "stop": ["\n\n\n", "\ndef ", "\nclass "],
            "logprobs": 2,
            "nwo": "somebody/something",
            "stream": True,
            "extra": {"language": "python", "next_indent": 0, "trim_by_indentation": True},
        },
        COMPLETION,
        headers={"OpenAI-Intent": "copilot-ghost", "X-Request-Id": "b7c4"},
    ),
    Shape(
        "Refact",
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": TAGGED,
            "stream": True,
            "echo": False,
            "temperature": 0,
            "max_completion_tokens": 64,
            "stop": ["<|endoftext|>", "\n\n\n"],
        },
        COMPLETION,
    ),
]


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    # These clients ask for a temperature of their own, and the engine is to recite all the same.
    ids = tiny.tokenizer.encode(ANSWER)
    options = {"respond": lambda *_: ids}
    with live_gateway(tiny, options=options, api_key="key", typeahead_mb=0) as gateway:
        yield gateway


def at(answer: Any, name: str) -> Any:
    """Look up a dotted name; a number is a place in a list."""
    for part in name.split("."):
        answer = answer[int(part)] if part.isdigit() else answer[part]
    return answer


def ask(live: LiveGateway, shape: Shape) -> httpx.Response:
    headers = {"Authorization": "Bearer key", **shape.headers}
    answer = httpx.post(live.url + shape.path, json=shape.body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def pieces(answer: httpx.Response) -> Iterator[Any]:
    """The objects of a stream, server-sent or a line each."""
    for line in answer.text.splitlines():
        if (data := line.removeprefix("data: ")) and data != "[DONE]":
            yield json.loads(data)


@pytest.mark.parametrize("shape", WHOLE, ids=lambda shape: shape.client)
def test_an_answer_has_what_the_client_reads(live: LiveGateway, shape: Shape) -> None:
    answer = ask(live, shape).json()
    assert at(answer, shape.text) == ANSWER
    assert not [name for name in shape.needs if at(answer, name) is None]


@pytest.mark.parametrize("shape", STREAMED, ids=lambda shape: shape.client)
def test_a_stream_has_what_the_client_reads(live: LiveGateway, shape: Shape) -> None:
    found = list(pieces(ask(live, shape)))
    assert len(found) > 3
    assert "".join(at(piece, shape.text) or "" for piece in found) == ANSWER


def test_three_answers_of_llama_vscode_are_an_array(live: LiveGateway) -> None:
    (shape,) = [shape for shape in WHOLE if shape.client == "llama.vscode"]
    asked = replace(shape, body={**shape.body, "n_cmpl": 3})
    assert [row["content"] for row in ask(live, asked).json()] == [ANSWER] * 3


def test_equal_requests_of_minuet_are_all_answered(live: LiveGateway) -> None:
    (shape,) = [shape for shape in STREAMED if shape.client == "minuet, codestral"]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: ask(live, shape), range(3)))
    for answer in answers:
        assert "".join(at(piece, shape.text) or "" for piece in pieces(answer)) == ANSWER


@pytest.mark.parametrize("shape", [*WHOLE, *STREAMED], ids=lambda shape: shape.client)
def test_the_page_says_that_the_client_was_not_run(shape: Shape) -> None:
    section = {"minuet": "minuet-ai.nvim", "llm-ls": "llm.nvim", "Copilot": "Copilot override"}
    name = shape.client.split(",")[0]
    text = sections()[section.get(name, name)]
    assert re.search(r"Not run[^;]*; `tests/integration/test_client_shapes\.py`", text)
