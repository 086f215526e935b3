"""How each protocol asks for a completion, for `server.conformance`: one row a protocol.

Only what every server of a protocol understands is sent. Nothing is said of the answers but what
marks one piece of a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Speech:
    """One protocol.

    body(prompt, tokens, model): a greedy request for up to so many tokens. stream_path: where
    streams are asked for; None: the protocol has none. says: the value of `stream` is sent. mark:
    what each piece of a stream has once.
    """

    name: str
    path: str
    body: Callable[[str, int, str], Body]
    stream_path: str | None
    says: bool = True
    mark: bytes = b"data:"

    def ask(self, prompt: str, tokens: int, model: str, *, stream: bool) -> tuple[str, Body]:
        """The path and the body of a request."""
        assert self.stream_path or not stream
        body = self.body(prompt, tokens, model)
        if self.says:
            body["stream"] = stream
        return (self.stream_path if stream and self.stream_path else self.path), body


def _completion(prompt: str, tokens: int, model: str) -> Body:
    return {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}


def _segments(prompt: str, tokens: int, model: str) -> Body:
    del tokens, model  # the server chooses both
    return {"language": "python", "segments": {"prefix": prompt, "suffix": ""}}


def _infill(prompt: str, tokens: int, model: str) -> Body:
    del model
    asked = {"input_prefix": prompt, "input_suffix": "", "prompt": ""}
    return asked | {"n_predict": tokens, "temperature": 0}


def _generate(prompt: str, tokens: int, model: str) -> Body:
    options = {"num_predict": tokens, "temperature": 0}
    return {"model": model, "prompt": prompt, "raw": True, "options": options}


def _prefix(prompt: str, tokens: int, model: str) -> Body:
    asked = {"prefix": prompt, "max_tokens": tokens, "temperature": 0}
    return asked | ({"model": model} if model else {})


def _inputs(prompt: str, tokens: int, model: str) -> Body:
    del model
    return {"inputs": prompt, "parameters": {"max_new_tokens": tokens}}


SPEECHES = {
    row.name: row
    for row in (
        Speech("openai", "/v1/completions", _completion, "/v1/completions"),
        Speech("tabby", "/v1/completions", _segments, None, says=False),
        Speech("mistral", "/v1/fim/completions", _completion, "/v1/fim/completions"),
        Speech("llamacpp", "/infill", _infill, "/infill"),
        Speech("ollama", "/api/generate", _generate, "/api/generate", mark=b'"done":'),
        Speech("native", "/v1/suggestions", _prefix, "/v1/suggestions", mark=b"event: piece"),
        Speech("tgi", "/generate", _inputs, "/generate_stream", says=False),
    )
}
