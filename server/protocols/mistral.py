"""Mistral's fill-in-the-middle: `/v1/fim/completions`.

Shaped like a chat: `message.content`, and `delta.content` in streams. `prompt` and `suffix` are the
user's text. `min_tokens` is accepted and not acted on. Read `Mistral.complete` first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from server.choices import Choice, collect, generate, spread
from server.event_stream import JSON, Answer, Emit, EventStream, Problem, event
from server.gateway import JSON_OR_EVENTS, Call, Gateway, Route, read_wire
from server.inflight import Running
from server.wire import Frame, Number, error_kind, stop_strings
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, SamplingParams, Suggestion


class FimStreamOptions(BaseModel):
    """`stream_options` of a request."""

    include_usage: StrictBool | None = None


class FimBody(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model: StrictStr | None = None
    prompt: StrictStr
    suffix: StrictStr | None = None
    max_tokens: StrictInt | None = Field(None, ge=1)
    temperature: Number | None = None
    top_p: Number | None = None
    n: StrictInt | None = Field(None, ge=1)
    random_seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None
    stream: StrictBool | None = None
    stream_options: FimStreamOptions | None = None


class Mistral:
    """Serves the protocol."""

    name = "mistral"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route(
                "POST", "/v1/fim/completions", self.complete, wire=FimBody, answers=JSON_OR_EVENTS
            ),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """Mistral's flat object; Continue knows a failed stream by `error`."""
        return {
            "object": "error",
            "message": problem.message,
            "type": error_kind(problem.status),
            "param": problem.param,
            "code": problem.code,
            "error": problem.message,
        }

    async def complete(self, call: Call) -> Answer | EventStream:
        """Answer one completion request."""
        body = read_wire(FimBody, call.body)
        self._gateway.check_model(body.model)
        choices = list(spread([self._request(body)], self._count(body)))
        running = self._gateway.open(self.name, "fim-", call)
        frame = Frame(running.request_id, int(time.time()), self._gateway.artifact.name)
        reception = self._gateway.reception
        if not body.stream:
            return Answer(reception, running, self, lambda: self._whole(choices, running, frame))
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return EventStream(
            reception,
            running,
            self,
            lambda emit: self._stream(choices, running, frame, usage, emit),
            last=b"data: [DONE]\n\n",
        )

    def _count(self, body: FimBody) -> int:
        count, limit = body.n or 1, self._gateway.settings.max_choices
        if count > limit:
            raise InvalidRequest("n", count, f"give at most {limit}")
        return count

    def _request(self, body: FimBody) -> CompletionRequest:
        settings = self._gateway.settings
        temperature = body.temperature
        sampling = SamplingParams(
            max_tokens=body.max_tokens or settings.editor_max_tokens,
            temperature=settings.default_temperature if temperature is None else temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            seed=body.random_seed,
        )
        return CompletionRequest(
            prefix=body.prompt,
            suffix=body.suffix,
            sampling=sampling,
            stop=stop_strings(body.stop),
            model=body.model,
        )

    async def _whole(
        self, choices: Sequence[Choice], running: Running, frame: Frame
    ) -> Mapping[str, Any]:
        rows, usage = await collect(self._gateway.completer, choices, running)
        shown = [
            {
                "index": index,
                "message": _message("".join(piece.text for piece in pieces)),
                "finish_reason": pieces[-1].finish,
            }
            for index, pieces in enumerate(rows)
        ]
        return frame.body("chat.completion", shown, usage)

    async def _stream(
        self,
        choices: Sequence[Choice],
        running: Running,
        frame: Frame,
        include_usage: bool,
        emit: Emit,
    ) -> None:
        async def take(choice: Choice, piece: Suggestion) -> None:
            row = {"delta": _message(piece.text), "finish_reason": piece.finish}
            for index in choice.indices:
                shown = [{"index": index, **row}]
                await emit(event(frame.body("chat.completion.chunk", shown)))

        usage = await generate(self._gateway.completer, choices, running, take)
        if include_usage:  # a chunk without choices crashes clients that did not ask for it
            await emit(event(frame.body("chat.completion.chunk", [], usage)))


def _message(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
