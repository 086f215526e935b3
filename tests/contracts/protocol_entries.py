"""Every address that completes text: how its protocol asks, and how answers and errors look.

One row an address; `test_protocols.py` asks the same of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Body = dict[str, Any]
ANSWER = "größe = '東京 🙂'\r\n    return x\n"


@dataclass(frozen=True)
class Entry:
    """One address.

    body(prefix, suffix, stream) asks greedily for up to 64 tokens. text, piece: the text of a whole
    answer and of one object of a stream. error(body, status) checks the dialect and returns the
    message. wrong: fields (`inside.field`) with refused values. fills: False where there is
    no suffix. named: whether a request names a model. laid_out: the client builds the prompt.
    """

    protocol: str
    path: str
    body: Callable[[str, str, bool], Body]
    text: Callable[[Any], str]
    error: Callable[[Any, int], str]
    wrong: Mapping[str, Any]
    piece: Callable[[Any], str] | None = None
    stream_path: str | None = None
    done: bytes = b""
    media_type: str = "text/event-stream"
    error_type: str = "application/json"
    fills: bool = True
    named: bool = True
    empty_is_load: bool = False
    laid_out: bool = False

    def __str__(self) -> str:
        return self.protocol + self.path + (" laid out" if self.laid_out else "")

    @property
    def streams(self) -> str | None:
        """The path of streams, None where there are none."""
        return (self.stream_path or self.path) if self.piece else None


def openai_error(body: Any, status: int) -> str:
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["type"] == "server_error") == (status >= 500)
    return str(body["error"]["message"])


def mistral_error(body: Any, status: int) -> str:
    assert set(body) == {"object", "message", "type", "param", "code", "error"}
    assert body["object"] == "error"
    assert (body["type"] == "server_error") == (status >= 500)
    return str(body["message"])


def string_error(body: Any, status: int) -> str:
    del status
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    return body["error"]


def openai_body(prefix: str, suffix: str, stream: bool) -> Body:
    asked = {"prompt": prefix, "suffix": suffix, "max_tokens": 64, "temperature": 0}
    return asked | ({"stream": True} if stream else {})


def tabby_body(prefix: str, suffix: str, stream: bool) -> Body:
    assert not stream
    return {"language": "python", "segments": {"prefix": prefix, "suffix": suffix}}


def llama_error(body: Any, status: int) -> str:
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "type"}
    assert body["error"]["code"] == status
    return str(body["error"]["message"])


def infill_body(prefix: str, suffix: str, stream: bool) -> Body:
    above, newline, line = prefix.rpartition("\n")
    asked = {"input_prefix": above + newline, "prompt": line, "input_suffix": suffix}
    extra = [{"text": "x = 1", "filename": "a.py", "time": [17, 4]}]
    return asked | {"input_extra": extra, "temperature": 0, "n_predict": 64, "stream": stream}


def prompt_body(prefix: str, suffix: str, stream: bool) -> Body:
    del suffix
    return {"prompt": prefix, "temperature": 0, "n_predict": 64, "stream": stream}


def laid_out(prefix: str, suffix: str) -> str:
    """What an editor sends that lays out the prompt itself, for another family than ours."""
    return f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"


def laid_out_openai(prefix: str, suffix: str, stream: bool) -> Body:
    asked = {"prompt": laid_out(prefix, suffix), "max_tokens": 64, "temperature": 0}
    return asked | ({"stream": True} if stream else {})


def laid_out_prompt(prefix: str, suffix: str, stream: bool) -> Body:
    return prompt_body(laid_out(prefix, suffix), "", stream)


def laid_out_ollama(prefix: str, suffix: str, stream: bool) -> Body:
    asked = ollama_body(laid_out(prefix, suffix), "", stream)
    del asked["suffix"]
    return asked | {"raw": True}


def laid_out_tgi(prefix: str, suffix: str, stream: bool) -> Body:
    return tgi_body(laid_out(prefix, suffix), "", stream)


def llama_entry(path: str, body: Callable[[str, str, bool], Body], *, fills: bool) -> Entry:
    return Entry(
        "llamacpp",
        path,
        body,
        text=lambda answer: str(answer["content"]),
        piece=lambda chunk: str(chunk["content"]),
        error=llama_error,
        wrong={"prompt": 7.5, "n_predict": "many", "seed": "x", "stop": 5, "response_fields": "a"},
        fills=fills,
    )


def ollama_body(prefix: str, suffix: str, stream: bool) -> Body:
    asked = {"prompt": prefix, "suffix": suffix, "options": {"temperature": 0, "num_predict": 64}}
    return asked | ({} if stream else {"stream": False})


def tgi_error(body: Any, status: int) -> str:
    assert set(body) == {"error", "error_type"}
    assert (body["error_type"] == "validation") == (status < 500 and status not in (401, 499))
    return str(body["error"])


def tgi_body(prefix: str, suffix: str, stream: bool) -> Body:
    del suffix, stream  # a stream has a path of its own
    return {"inputs": prefix, "parameters": {"max_new_tokens": 64, "stop": ["<never>"]}}


def openai_entry(path: str, *, named: bool = True) -> Entry:
    return Entry(
        "openai",
        path,
        openai_body,
        text=lambda answer: str(answer["choices"][0]["text"]),
        piece=lambda chunk: str(chunk["choices"][0]["text"]),
        error=openai_error,
        wrong={"prompt": 7, "max_tokens": "many", "temperature": -1, "stop": 5, "stream": "yes"},
        done=b"data: [DONE]\n\n",
        named=named,
    )


def native_error(body: Any, status: int) -> str:
    assert set(body) == {"type", "title", "status", "detail", "code", "field", "request_id"}
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["status"] == status
    return str(body["detail"])


def native_body(prefix: str, suffix: str, stream: bool) -> Body:
    asked = {"prefix": prefix, "suffix": suffix, "max_tokens": 64, "path": "src/a.py"}
    snippets = [{"path": "b.py", "text": "x = 1", "score": 0.5}]
    return asked | {"snippets": snippets} | ({} if stream else {"stream": False})


PLAIN = (
    Entry(
        "native",
        "/v1/suggestions",
        native_body,
        text=lambda answer: str(answer["choices"][0]["text"]),
        piece=lambda event: str(event.get("text", "")),
        error=native_error,
        error_type="application/problem+json",
        wrong={
            "prefix": 7,
            "snippets": "a",
            "session": "a b",
            "request_id": "a/b",
            "user": "a\nb",
            "n": 10**9,
            "stream": "yes",
            "postprocess": "none",
            "eagerness": {"min_confidence": 2, "lines": "many"},
            "deadline_ms": 0,
        },
    ),
    Entry(
        "tabby",
        "/v1/completions",
        tabby_body,
        text=lambda answer: str(answer["choices"][0]["text"]),
        error=string_error,
        wrong={"segments": {"prefix": 3}, "temperature": "hot", "seed": 1.5, "language": 3},
        named=False,
    ),
    openai_entry("/v1/completions"),
    openai_entry("/beta/completions"),
    openai_entry("/v1/engines/copilot-codex/completions", named=False),
    Entry(
        "mistral",
        "/v1/fim/completions",
        openai_body,
        text=lambda answer: str(answer["choices"][0]["message"]["content"]),
        piece=lambda chunk: str(chunk["choices"][0]["delta"]["content"]),
        error=mistral_error,
        wrong={"prompt": None, "suffix": 1, "random_seed": "x", "stop": [1], "n": 10**9},
        done=b"data: [DONE]\n\n",
    ),
    llama_entry("/infill", infill_body, fills=True),
    llama_entry("/completion", prompt_body, fills=False),
    Entry(
        "ollama",
        "/api/generate",
        ollama_body,
        text=lambda answer: str(answer["response"]),
        piece=lambda row: str(row["response"]),
        error=string_error,
        wrong={
            "prompt": 7,
            "suffix": [],
            "options.num_predict": "many",
            "options.temperature": -1,
            "stream": "yes",
        },
        media_type="application/x-ndjson",
        empty_is_load=True,
    ),
    Entry(
        "tgi",
        "/generate",
        tgi_body,
        text=lambda answer: str(answer["generated_text"]),
        piece=lambda chunk: str(chunk["token"]["text"]),
        stream_path="/generate_stream",
        error=tgi_error,
        wrong={
            "inputs": 7,
            "parameters.max_new_tokens": 0,
            "parameters.temperature": -1,
            "parameters.stop": "a",
            "parameters.best_of": 1000,
            "parameters.repetition_penalty": 0,
            "parameters.frequency_penalty": 0.5,
        },
        fills=False,
        named=False,
    ),
)


_BY_PATH = {entry.path: entry for entry in PLAIN if entry.protocol != "tabby"}

# The same addresses, asked by clients that lay out the prompt themselves.
LAID_OUT = tuple(
    replace(_BY_PATH[path], body=body, fills=True, laid_out=True)
    for path, body in (
        ("/v1/completions", laid_out_openai),
        ("/completion", laid_out_prompt),
        ("/api/generate", laid_out_ollama),
        ("/generate", laid_out_tgi),
    )
)
ENTRIES = PLAIN + LAID_OUT
