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
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from server.best_of import best_of
from server.choices import Choice, generate, spread
from server.engines.limits import REFUSAL
from server.event_stream import JSON, Answer, Emit, EventStream, JsonResponse, Problem, event
from server.gateway import JSON_OR_EVENTS, Call, Gateway, Route, read_wire
from server.inflight import Running
from server.templates import understood
from server.token_table import ShownChoice
from server.wire import Frame, Ids, Number, error_kind, stop_strings
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, SamplingParams, Suggestion

_DEFAULT_MAX_TOKENS = 16  # OpenAI's own
_OBJECT = "text_completion"
_WIRE_NAMES = {"alternatives": "logprobs", "prompt_logprobs": "echo"}


class StreamOptions(BaseModel):
    """`stream_options` of a request."""

    include_usage: StrictBool | None = None


class CompletionBody(BaseModel):
    """A request. Fields that no server needs to act on are accepted and ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model: StrictStr | None = None
    prompt: StrictStr | Ids | list[StrictStr] | list[Ids] | None = None
    suffix: StrictStr | None = None
    max_tokens: StrictInt | None = Field(None, ge=0)
    max_completion_tokens: StrictInt | None = Field(None, ge=0)
    temperature: Number | None = None
    top_p: Number | None = None
    n: StrictInt | None = Field(None, ge=1)
    best_of: StrictInt | None = Field(None, ge=1)
    seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    logprobs: StrictInt | None = Field(None, ge=0, le=5)
    echo: StrictBool | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    logit_bias: dict[str, Number] | None = None
    user: StrictStr | None = None

    @property
    def candidates(self) -> int:
        """Answers to generate for each prompt, of which the best `n` are shown."""
        return self.best_of or self.n or 1


class OpenAI:
    """Serves the protocol."""

    name = "openai"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway
        self._tokenizer = gateway.artifact.tokenizer
        self._started = int(time.time())

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route(
                "POST",
                "/v1/completions",
                self.complete,
                wire=CompletionBody,
                answers=JSON_OR_EVENTS,
            ),
            Route(
                "POST",
                "/beta/completions",
                self.deepseek,
                wire=CompletionBody,
                answers=JSON_OR_EVENTS,
            ),
            Route(
                "POST",
                "/v1/engines/{engine}/completions",
                self.copilot,
                wire=CompletionBody,
                answers=JSON_OR_EVENTS,
            ),
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
        if body.max_tokens is None:
            length = self._gateway.settings.editor_max_tokens
            body = body.model_copy(update={"max_tokens": length})
        return self._answer(call, body)

    async def copilot(self, call: Call) -> Answer | EventStream:
        """Answer whatever engine the path names: it is Copilot's name for its own model.

        Copilot asks for two alternatives at each keystroke and shows none: it gets the chosen ones.
        """
        body = read_wire(CompletionBody, call.body)
        return self._answer(call, body.model_copy(update={"model": None}), alternatives=False)

    def _answer(
        self,
        call: Call,
        body: CompletionBody,
        *,
        laid_out: bool = False,
        alternatives: bool = True,
    ) -> Answer | EventStream:
        self._gateway.check_model(body.model)
        _check_together(body)
        sampling = self._sampling(body, alternatives)
        requests = self._requests(body, sampling)
        if laid_out and not sampling.prompt_logprobs:  # those are asked of the text as it stands
            requests = [understood(request, self._gateway.artifact) for request in requests]
        choices = list(spread(requests, body.candidates))
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
        """End the caller's running requests by our id or by the `X-Request-Id` it gave."""
        request_id = call.path_params["request_id"]
        cancelled = self._gateway.reception.inflight.cancel(request_id, call.caller)
        return JsonResponse({"cancelled": cancelled})

    async def models(self, call: Call) -> JsonResponse:
        """List the models, the default one first."""
        del call
        names = self._gateway.completer.models.models
        return JsonResponse({"object": "list", "data": [self._card(name) for name in names]})

    async def model(self, call: Call) -> JsonResponse:
        """Describe one model."""
        self._gateway.check_model(call.path_params["model"])
        return JsonResponse(self._card(call.path_params["model"]))

    def _card(self, name: str) -> Mapping[str, Any]:
        engine = self._gateway.completer.models.models[name].engine
        return {
            "id": name,
            "object": "model",
            "created": self._started,
            "owned_by": "tabwright",
            "root": engine.artifact.name,
            "max_model_len": engine.max_context,
        }

    def _sampling(self, body: CompletionBody, alternatives: bool) -> SamplingParams:
        temperature, length = body.temperature, body.max_completion_tokens
        if temperature is None:
            temperature = self._gateway.settings.default_temperature
        if length is None:
            length = _DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
        sampling = SamplingParams(
            max_tokens=length,
            temperature=temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            seed=body.seed,
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            logit_bias=_bias(body.logit_bias or {}),
            alternatives=(body.logprobs or 0) if alternatives else 0,
            prompt_logprobs=bool(body.echo) and body.logprobs is not None,
        )
        for field in sorted(
            sampling.asked() & self._gateway.completer.models.default.engine.refuses
        ):
            name = _WIRE_NAMES.get(field, field)
            raise InvalidRequest(name, getattr(body, name), REFUSAL)
        return sampling

    def _requests(self, body: CompletionBody, sampling: SamplingParams) -> list[CompletionRequest]:
        stop = stop_strings(body.stop)
        return [
            CompletionRequest(
                prefix=prompt if isinstance(prompt, str) else "",
                suffix=body.suffix,
                sampling=sampling,
                stop=stop,
                model=body.model,
                user=body.user,
                prompt_ids=None if isinstance(prompt, str) else tuple(prompt),
                # An answer that was typed into has no probabilities for the rest of it.
                reuse=body.logprobs is None and body.candidates == (body.n or 1),
            )
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
        count, limit = body.candidates, self._gateway.settings.max_choices
        if count * len(rows) > limit:
            name = "prompt" if count == 1 else "best_of" if body.best_of else "n"
            fix = f"prompts times n or best_of may be at most {limit}"
            raise InvalidRequest(name, count * len(rows), fix)
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
        shown = best_of(gathered, body.candidates, body.n or 1)
        rows = [
            {"index": index, **self._shown(choice, body).show(*gathered[choice])}
            for index, choice in enumerate(shown)
        ]
        return frame.body(_OBJECT, rows, usage)

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

    def _shown(self, choice: Choice, body: CompletionBody) -> ShownChoice:
        given = self._prompts(body)[choice.prompt]
        literal = isinstance(given, str)
        echo = ""
        if body.echo:
            echo = given if isinstance(given, str) else self._tokenizer.decode(given)
        return ShownChoice(self._tokenizer, echo, body.logprobs, literal=literal)


def _check_together(body: CompletionBody) -> None:
    """Refuse fields that do not go together."""
    n, best_of = body.n or 1, body.best_of
    if best_of is not None and best_of < n:
        raise InvalidRequest("best_of", best_of, f"give at least n, which is {n}")
    if best_of is not None and best_of > n and body.stream:
        raise InvalidRequest("best_of", best_of, "the best is known at the end; leave out stream")
    if body.echo and body.logprobs is not None and body.suffix is not None:
        raise InvalidRequest("echo", True, "with a suffix it takes no logprobs; leave out one")


def _bias(given: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    for token in given:
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise InvalidRequest("logit_bias", token, "name each token by its id")
    return tuple((int(token), bias) for token, bias in given.items())
