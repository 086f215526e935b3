"""OpenAI's legacy completions: `/v1/completions` and `/v1/models`, and two other addresses of them.

`/beta/completions` is DeepSeek's, `/v1/engines/{engine}/completions` is Copilot's and FauxPilot's.
With `suffix` it is fill-in-the-middle, without it plain continuation. Text in `prompt` and `suffix`
is the user's and never becomes a control token, but a prompt without `suffix` at `/v1/completions`
may be one that the client laid out (`server.templates`). A prompt of token ids is taken as it is.
Read `OpenAI.complete` first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from server.choices import Choice, generate, spread
from server.event_stream import Answer, Emit, EventStream, JsonResponse, Problem, event
from server.gateway import Call, Gateway, Route, read_wire
from server.inflight import Running
from server.templates import understood
from server.wire import Frame, Ids, Number, error_kind, stop_strings
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, SamplingParams, Suggestion
from tabwright.tokenizer import Tokenizer

_DEFAULT_MAX_TOKENS = 16  # OpenAI's own
_OBJECT = "text_completion"


class StreamOptions(BaseModel):
    """`stream_options` of a request."""

    include_usage: StrictBool | None = None


class CompletionBody(BaseModel):
    """A request. Fields that no server needs to act on are accepted and ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model: StrictStr | None = None
    prompt: StrictStr | Ids | list[StrictStr] | list[Ids] | None = None
    suffix: StrictStr | None = None
    max_tokens: StrictInt | None = Field(None, ge=1)
    max_completion_tokens: StrictInt | None = Field(None, ge=1)
    temperature: Number | None = None
    top_p: Number | None = None
    n: StrictInt | None = Field(None, ge=1)
    best_of: StrictInt | None = None
    seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    logprobs: StrictInt | None = Field(None, ge=0, le=5)
    echo: StrictBool | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    logit_bias: dict[str, float] | None = None
    user: StrictStr | None = None


class OpenAI:
    """Serves the protocol."""

    name = "openai"

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway
        self._tokenizer = gateway.artifact.tokenizer
        self._started = int(time.time())

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route("POST", "/v1/completions", self.complete, wire=CompletionBody),
            Route("POST", "/beta/completions", self.deepseek, wire=CompletionBody),
            Route("POST", "/v1/engines/{engine}/completions", self.copilot, wire=CompletionBody),
            Route("POST", "/v1/completions/{request_id}/cancel", self.cancel),
            Route("GET", "/v1/models", self.models),
            Route("GET", "/v1/models/{model:path}", self.model),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """The error envelope."""
        return {
            "error": {
                "message": problem.message,
                "type": error_kind(problem.status),
                "param": problem.param,
                "code": problem.code,
            }
        }

    async def complete(self, call: Call) -> Answer | EventStream:
        """Answer one completion request."""
        return self._answer(call, read_wire(CompletionBody, call.body), laid_out=True)

    async def deepseek(self, call: Call) -> Answer | EventStream:
        """Answer an editor that names no length (minuet) with a suggestion, not sixteen tokens."""
        body = read_wire(CompletionBody, call.body)
        length = body.max_tokens or self._gateway.settings.editor_max_tokens
        return self._answer(call, body.model_copy(update={"max_tokens": length}))

    async def copilot(self, call: Call) -> Answer | EventStream:
        """Answer whatever engine the path names: it is Copilot's name for its own model."""
        body = read_wire(CompletionBody, call.body)
        return self._answer(call, body.model_copy(update={"model": None}))

    def _answer(
        self, call: Call, body: CompletionBody, *, laid_out: bool = False
    ) -> Answer | EventStream:
        self._gateway.check_model(body.model)
        _refuse_unsupported(body)
        requests = self._requests(body)
        if laid_out:
            requests = [understood(request, self._gateway.artifact) for request in requests]
        choices = list(spread(requests, body.n or 1))
        running = self._gateway.open(self.name, "cmpl-", call)
        frame = Frame(running.request_id, int(time.time()), self._gateway.artifact.name)
        reception = self._gateway.reception
        if not body.stream:
            return Answer(
                reception, running, self, lambda: self._whole(body, choices, running, frame)
            )
        return EventStream(
            reception,
            running,
            self,
            lambda emit: self._stream(body, choices, running, frame, emit),
            last=b"data: [DONE]\n\n",
        )

    async def cancel(self, call: Call) -> JsonResponse:
        """End running requests by our id or by the `X-Request-Id` that the client gave."""
        request_id = call.path_params["request_id"]
        return JsonResponse({"cancelled": self._gateway.reception.inflight.cancel(request_id)})

    async def models(self, call: Call) -> JsonResponse:
        """List the one model."""
        del call
        return JsonResponse({"object": "list", "data": [self._card()]})

    async def model(self, call: Call) -> JsonResponse:
        """Describe one model."""
        self._gateway.check_model(call.path_params["model"])
        return JsonResponse(self._card())

    def _card(self) -> Mapping[str, Any]:
        return {
            "id": self._gateway.artifact.name,
            "object": "model",
            "created": self._started,
            "owned_by": "tabwright",
            "root": self._gateway.artifact.name,
            "max_model_len": self._gateway.max_context,
        }

    def _requests(self, body: CompletionBody) -> list[CompletionRequest]:
        temperature = body.temperature
        if temperature is None:
            temperature = self._gateway.settings.default_temperature
        sampling = SamplingParams(
            max_tokens=body.max_completion_tokens or body.max_tokens or _DEFAULT_MAX_TOKENS,
            temperature=temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            seed=body.seed,
        )
        shared = CompletionRequest(
            prefix="",
            suffix=body.suffix,
            sampling=sampling,
            stop=stop_strings(body.stop),
            model=body.model,
            user=body.user,
        )
        return [
            replace(shared, prefix=prompt)
            if isinstance(prompt, str)
            else replace(shared, prompt_ids=tuple(prompt))
            for prompt in self._prompts(body)
        ]

    def _prompts(self, body: CompletionBody) -> list[str] | list[list[int]]:
        """One prompt each: a bare string or a bare list of ids is one."""
        prompt = body.prompt
        if prompt is None:
            raise InvalidRequest("prompt", None, "give the text to continue")
        if prompt == []:
            raise InvalidRequest("prompt", [], "give at least one prompt")
        single = isinstance(prompt, str) or isinstance(prompt[0], int)
        rows: Any = [prompt] if single else prompt
        n, limit = body.n or 1, self._gateway.settings.max_choices
        if n * len(rows) > limit:
            name = "n" if n > 1 else "prompt"
            raise InvalidRequest(name, n * len(rows), f"prompts times n may be at most {limit}")
        if body.suffix is not None and not isinstance(rows[0], str):
            raise InvalidRequest("suffix", "...", "a prompt of token ids takes no suffix")
        return list(rows)

    async def _whole(
        self, body: CompletionBody, choices: Sequence[Choice], running: Running, frame: Frame
    ) -> Mapping[str, Any]:
        gathered: dict[Choice, list[Suggestion]] = {choice: [] for choice in choices}

        async def take(choice: Choice, piece: Suggestion) -> None:
            gathered[choice].append(piece)

        usage = await generate(self._gateway.completer, choices, running, take)
        rows: dict[int, Mapping[str, Any]] = {}
        for choice, pieces in gathered.items():
            shown = self._shown(choice, body).show(*pieces)
            rows |= {index: {"index": index, **shown} for index in choice.indices}
        return frame.body(_OBJECT, [rows[index] for index in sorted(rows)], usage)

    async def _stream(
        self,
        body: CompletionBody,
        choices: Sequence[Choice],
        running: Running,
        frame: Frame,
        emit: Emit,
    ) -> None:
        shown = {choice: self._shown(choice, body) for choice in choices}

        async def take(choice: Choice, piece: Suggestion) -> None:
            row = shown[choice].show(piece)
            for index in choice.indices:
                await emit(event(frame.body(_OBJECT, [{"index": index, **row}])))

        usage = await generate(self._gateway.completer, choices, running, take)
        if body.stream_options and body.stream_options.include_usage:
            # Only when asked for: a chunk without choices crashes Continue's DeepSeek adapter.
            await emit(event(frame.body(_OBJECT, [], usage)))

    def _shown(self, choice: Choice, body: CompletionBody) -> _Shown:
        echo = ""
        if body.echo:
            given = self._prompts(body)[choice.prompt]
            echo = given if isinstance(given, str) else self._tokenizer.decode(given)
        return _Shown(self._tokenizer, echo, body.logprobs)


class _Shown:
    """One choice as the protocol shows it, piece by piece."""

    def __init__(self, tokenizer: Tokenizer, echo: str, logprobs: int | None) -> None:
        self._tokenizer = tokenizer
        self._echo = echo
        self._logprobs = logprobs
        self._offset = len(echo)

    def show(self, *pieces: Suggestion) -> dict[str, Any]:
        """Join pieces into the fields of a choice."""
        text = self._echo + "".join(piece.text for piece in pieces)
        self._echo = ""
        row: dict[str, Any] = {"text": text, "logprobs": None}
        if self._logprobs is not None:
            row["logprobs"] = self._probabilities(pieces)
        row["finish_reason"] = pieces[-1].finish
        return row

    def _probabilities(self, pieces: Sequence[Suggestion]) -> dict[str, Any]:
        """Chosen tokens only: engines report no others."""
        tokens = [self._tokenizer.decode([i]) for piece in pieces for i in piece.ids]
        logprobs = [value for piece in pieces for value in piece.logprobs]
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token)
        top = [{t: v} for t, v in zip(tokens, logprobs, strict=True)] if self._logprobs else None
        return {
            "tokens": tokens,
            "token_logprobs": logprobs,
            "top_logprobs": top,
            "text_offset": offsets,
        }


def _refuse_unsupported(body: CompletionBody) -> None:
    """Refuse what would change the answer if it were served and cannot be."""
    for name, value, neutral in (
        ("best_of", body.best_of, (None, 1, body.n or 1)),
        ("presence_penalty", body.presence_penalty, (None, 0)),
        ("frequency_penalty", body.frequency_penalty, (None, 0)),
        ("logit_bias", body.logit_bias, (None, {})),
    ):
        if value not in neutral:
            raise InvalidRequest(name, value, "this server does not support it; leave it out")
    if body.echo and body.logprobs is not None:
        raise InvalidRequest("logprobs", body.logprobs, "it cannot be combined with echo here")
