"""Clients that lay out the prompt themselves, with the bodies they really send.

The engine sees what it would see had the client sent prefix, suffix and files apart. Routes where
the text is the user's are asked with the same texts, and there every tag stays text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from server.prompt import PromptBuilder
from tabwright.artifact import ModelArtifact
from tabwright.request import CompletionRequest, SamplingParams, Snippet
from tests.fakes.live_gateway import live_gateway

PREFIX = "def total(values):\n    result = 0\n    for i in range(len("
SUFFIX = "\n        result += values[i]\n    return result\n"
ANSWER = "values)):"
LIB = Snippet("lib/money.py", "def cents(text):\n    return round(float(text) * 100)\n")

STARCODER = f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>"
QWEN = f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>"
CODELLAMA = f"<PRE> {PREFIX} <SUF>{SUFFIX} <MID>"
DEEPSEEK = f"<｜fim▁begin｜>{PREFIX}<｜fim▁hole｜>{SUFFIX}<｜fim▁end｜>"

CONTINUE_STOPS = [
    *("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>", "<|endoftext|>"),
    *("</fim_middle>", "</code>", "/src/", "#- coding: utf-8", "```", "\ndef", "\nclass"),
]
CONTINUE = {
    "model": "tiny",
    "max_tokens": 4096,
    "temperature": 0.01,
    "stream": True,
    "stop": CONTINUE_STOPS,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
FILES = CompletionRequest(PREFIX, SUFFIX, "src/main.py", snippets=(LIB,), repo="shop")


@dataclass
class Seen:
    """What the engine was asked."""

    prompts: list[tuple[int, ...]] = field(default_factory=list)

    def answer(self, artifact: ModelArtifact) -> Any:
        def respond(prompt: Sequence[int], sampling: SamplingParams) -> Sequence[int]:
            del sampling
            self.prompts.append(tuple(prompt))
            return artifact.tokenizer.encode(ANSWER)

        return respond


@dataclass(frozen=True)
class Asked:
    """One client: where it posts, what, and what it means by it."""

    path: str
    body: dict[str, Any]
    meaning: CompletionRequest = CompletionRequest(PREFIX, SUFFIX)  # noqa: RUF009
    length: int = 64


CLIENTS = {
    "continue, openai": Asked("/v1/completions", CONTINUE | {"prompt": STARCODER}, length=4096),
    "continue, openai, named after qwen": Asked(
        "/v1/completions",
        CONTINUE
        | {
            "prompt": f"<|repo_name|>shop\n<|file_sep|>{LIB.path}\n{LIB.text}\n"
            f"<|file_sep|>src/main.py\n{QWEN}"
        },
        FILES,
        length=4096,
    ),
    "continue, llama.cpp": Asked(
        "/completion",
        {"model": "tiny", "prompt": CODELLAMA, "stream": True, "n_predict": 256, "stop": ["<PRE>"]},
        length=256,
    ),
    "continue, tgi": Asked(
        "/generate_stream",
        {"inputs": DEEPSEEK, "parameters": {"max_new_tokens": 100, "stop": ["//"]}},
        length=100,
    ),
    "continue, ollama, first request": Asked(
        "/api/generate",
        {"model": "tiny", "prompt": STARCODER, "raw": True, "options": {"num_predict": 50}},
        length=50,
    ),
    "zed, openai": Asked(
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": f"[SUFFIX]{SUFFIX}[PREFIX]{PREFIX}",
            "max_tokens": 64,
            "temperature": None,
            "stop": ["[PREFIX]", "[SUFFIX]"],
        },
    ),
    "zed, glm": Asked(
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": f"<|code_prefix|>{PREFIX}<|code_suffix|>{SUFFIX}<|code_middle|>",
            "max_tokens": 64,
        },
    ),
    "llm-ls, tgi": Asked(
        "/generate",
        {
            "inputs": STARCODER,
            "parameters": {"max_new_tokens": 60, "temperature": 0.2, "return_full_text": False},
        },
        length=60,
    ),
    "llm-ls, openai": Asked(
        "/v1/completions",
        {"model": "tiny", "prompt": CODELLAMA, "stream": False, "max_tokens": 60},
        length=60,
    ),
    "llm-ls, llama.cpp": Asked("/completion", {"prompt": STARCODER, "n_predict": 60}, length=60),
    "llm-ls, ollama": Asked("/api/generate", {"model": "tiny", "prompt": QWEN, "stream": False}),
    "twinny, ollama": Asked(
        "/api/generate",
        {
            "model": "tiny",
            "prompt": "<repo_name>shop\n"
            f"<file_sep>{LIB.path}\n{LIB.text}<file_sep>src/main.py\n{STARCODER}",
            "stream": True,
            "keep_alive": "5m",
            "options": {"temperature": 0.2, "num_predict": 512, "stop": ["<file_sep>"]},
        },
        FILES,
        length=512,
    ),
    "twinny, lm studio": Asked(
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": f"<PRE> {PREFIX} <SUF>{SUFFIX} <MID>",
            "stream": True,
            "temperature": 0.2,
            "max_tokens": 512,
        },
        length=512,
    ),
    "twinny, llama.cpp": Asked(
        "/completion",
        {"prompt": DEEPSEEK, "stream": True, "temperature": 0.2, "max_tokens": 512},
        length=512,
    ),
    "refact": Asked(
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": f"<repo_name>shop\n<file_sep>{LIB.path}\n{LIB.text}<file_sep>src/main.py\n"
            f"<fim_suffix>{SUFFIX}<fim_prefix>{PREFIX}<fim_middle>",
            "echo": False,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.2,
            "max_completion_tokens": 50,
            "stop": ["<|endoftext|>", "\n\n"],
        },
        FILES,
        length=50,
    ),
    "llama.vscode, openai": Asked(
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": f"Context:\n\n[object Object]\n[object Object]{QWEN}",
            "max_tokens": 128,
            "temperature": 0.1,
            "top_p": 0.99,
            "stream": False,
        },
        length=128,
    ),
}

THE_USERS_OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "tabby": ("/v1/completions", {"segments": {"prefix": STARCODER, "suffix": ""}}),
    "openai with a suffix": ("/v1/completions", {"prompt": STARCODER, "suffix": ""}),
    "deepseek": ("/beta/completions", {"prompt": STARCODER}),
    "copilot": ("/v1/engines/copilot-codex/completions", {"prompt": STARCODER}),
    "mistral": ("/v1/fim/completions", {"prompt": STARCODER, "suffix": ""}),
    "mistral without a suffix": ("/v1/fim/completions", {"prompt": STARCODER}),
    "infill": ("/infill", {"input_prefix": STARCODER, "input_suffix": "", "prompt": STARCODER}),
    "ollama with a suffix": ("/api/generate", {"prompt": STARCODER, "suffix": ""}),
}


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def client(tiny: ModelArtifact, seen: Seen) -> Iterator[httpx.Client]:
    options = {"respond": seen.answer(tiny)}
    # Equal questions from two clients would otherwise be one.
    with (
        live_gateway(tiny, options=options, typeahead_mb=0) as live,
        httpx.Client(base_url=live.url) as client,
    ):
        yield client


def asked(client: httpx.Client, seen: Seen, path: str, body: dict[str, Any]) -> tuple[int, ...]:
    """Ask once; returns the prompt that reached the engine."""
    seen.prompts.clear()
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert '"error"' not in answer.text
    (prompt,) = seen.prompts
    return prompt


@pytest.mark.parametrize("name", CLIENTS)
def test_the_engine_is_asked_as_if_the_parts_had_come_apart(
    client: httpx.Client, seen: Seen, tiny: ModelArtifact, name: str
) -> None:
    row = CLIENTS[name]
    meaning = CompletionRequest(
        row.meaning.prefix,
        row.meaning.suffix,
        row.meaning.path,
        snippets=row.meaning.snippets,
        repo=row.meaning.repo,
        sampling=SamplingParams(max_tokens=row.length),
    )
    expected = PromptBuilder(tiny, tiny.max_context).build(meaning).ids
    assert asked(client, seen, row.path, row.body) == expected


@pytest.mark.parametrize("name", THE_USERS_OWN)
def test_tags_stay_text_where_the_text_is_the_users(
    client: httpx.Client, seen: Seen, tiny: ModelArtifact, name: str
) -> None:
    path, body = THE_USERS_OWN[name]
    prompt = asked(client, seen, path, body | {"stream": False})
    assert STARCODER in tiny.tokenizer.decode(prompt)
    assert prompt.count(tiny.fim.ids["<fim_middle>"]) <= 1


def test_a_prompt_far_beyond_the_context_is_cut_as_any_other_hole(
    client: httpx.Client, seen: Seen, tiny: ModelArtifact
) -> None:
    long = STARCODER.replace(PREFIX, "x = 1\n" * 5000 + PREFIX)
    prompt = asked(client, seen, "/v1/completions", CONTINUE | {"prompt": long})
    assert len(prompt) < tiny.max_context
    assert PREFIX in tiny.tokenizer.decode(prompt)


def test_echo_gives_back_what_was_sent(client: httpx.Client) -> None:
    body = {"prompt": STARCODER, "echo": True, "max_tokens": 64, "temperature": 0}
    answer = client.post("/v1/completions", json=body)
    assert answer.json()["choices"][0]["text"] == STARCODER + ANSWER


def test_an_empty_file_is_no_wish_to_load_a_model(client: httpx.Client) -> None:
    body = {"prompt": "<fim_prefix><fim_suffix><fim_middle>", "raw": True, "stream": False}
    assert client.post("/api/generate", json=body).json()["response"] == ANSWER


def test_what_tabby_sends_with_the_segments_gets_to_the_engine(
    client: httpx.Client, seen: Seen, tiny: ModelArtifact
) -> None:
    segments = {
        "prefix": PREFIX,
        "suffix": SUFFIX,
        "filepath": "src/main.py",
        "git_url": "https://someone:secret@example.org/owner/shop.git",
        "declarations": [{"filepath": "file:///w/lib/money.py", "body": LIB.text}],
        "relevant_snippets_from_changed_files": [
            {"filepath": "b.py", "body": "b = 1\n", "score": 0.5}
        ],
        "relevant_snippets_from_recently_opened_files": None,
        "clipboard": "",
    }
    prompt = asked(client, seen, "/v1/completions", {"segments": segments})
    text = tiny.tokenizer.decode(prompt)
    assert text.startswith("owner/shop\n/w/lib/money.py\ndef cents")
    assert "b.py\nb = 1\nsrc/main.py\n" in text
    assert prompt[0] == tiny.fim.ids["<repo_name>"]


def test_infill_takes_the_newest_of_the_extra_files(
    client: httpx.Client, seen: Seen, tiny: ModelArtifact
) -> None:
    extra = [
        {"text": f"chunk_{n} = 1\n" * 40, "time": [17, n], "filename": f"/w/{n}.py"}
        for n in range(9)
    ]
    body = {"input_prefix": PREFIX, "input_suffix": SUFFIX, "input_extra": extra}
    text = tiny.tokenizer.decode(asked(client, seen, "/infill", body))
    assert "chunk_8" in text
    assert "chunk_0" not in text
