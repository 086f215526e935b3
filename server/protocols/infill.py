"""llama.cpp's own protocol: `/infill`, `/completion`, `/health`, `/props`.

Its editors never cancel: `t_max_predict_ms` bounds an answer instead, once it has a line break.
`n_predict` 0 keeps a cache warm between keystrokes; it is answered from nothing and not counted.
Slots, `n_indent` and `t_max_prompt_ms` are accepted and not acted on. Read
`LlamaCpp.infill` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.types import ASGIApp

from server.choices import Choice, collect, generate, spread
from server.event_stream import JSON, Answer, Emit, EventStream, Json, JsonResponse, Problem, event
from server.gateway import JSON_OR_EVENTS, Call, Gateway, Route, read_wire
from server.inflight import Running
from server.llama_sampling import LlamaSampling
from server.metrics import RequestOutcome
from server.templates import understood
from server.wire import Ids, Number, spent, stop_strings
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, Finish, SamplingParams, Snippet, Suggestion

_RANDOM_SEEDS = (None, -1, 2**32 - 1)
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    503: "unavailable_error",
}


class ExtraFile(BaseModel):
    """A piece of another file. `time` is a number or, from llama.vim, a list of two."""

    text: StrictStr
    filename: StrictStr | None = None


class Sampling(LlamaSampling):
    """What both kinds of request have."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model: StrictStr | None = None
    n_predict: StrictInt | None = Field(None, ge=-2)
    n_cmpl: StrictInt | None = Field(None, ge=1)
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: StrictInt | None = None
    seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None
    stream: StrictBool | None = None
    t_max_predict_ms: Number | None = None
    response_fields: list[StrictStr] | None = None


class InfillBody(Sampling):
    """A request to `/infill`; `prompt` is the cursor's line up to the cursor."""

    input_prefix: StrictStr
    input_suffix: StrictStr
    prompt: StrictStr | None = None
    input_extra: list[ExtraFile] | None = None


class PromptBody(Sampling):
    """A request to `/completion`."""

    prompt: StrictStr | Ids
    max_tokens: StrictInt | None = Field(None, ge=1)


class LlamaCpp:
    """Serves the protocol."""

    name = "llamacpp"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route("POST", "/infill", self.infill, wire=InfillBody, answers=JSON_OR_EVENTS),
            Route("POST", "/completion", self.complete, wire=PromptBody, answers=JSON_OR_EVENTS),
            Route("GET", "/health", self.health, public=True),
            Route("GET", "/props", self.props),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """The error object; `code` is the status."""
        kind = "server_error" if problem.status >= 500 else "invalid_request_error"
        kind = _KINDS.get(problem.status, kind)
        return {"error": {"code": problem.status, "message": problem.message, "type": kind}}

    async def infill(self, call: Call) -> ASGIApp:
        """Fill in the middle."""
        body = read_wire(InfillBody, call.body)
        request = CompletionRequest(
            prefix=body.input_prefix + (body.prompt or ""),
            suffix=body.input_suffix,
            snippets=_snippets(body),
            sampling=self._sampling(body, body.n_predict),
            stop=stop_strings(body.stop),
            answer_ms=_limit_ms(body),
        )
        return self._answer(call, body, request)

    async def complete(self, call: Call) -> ASGIApp:
        """Continue a prompt that the client laid out."""
        body = read_wire(PromptBody, call.body)
        given = body.prompt
        request = CompletionRequest(
            prefix=given if isinstance(given, str) else "",
            prompt_ids=None if isinstance(given, str) else tuple(given),
            sampling=self._sampling(
                body, body.max_tokens if body.n_predict is None else body.n_predict
            ),
            stop=stop_strings(body.stop),
            answer_ms=_limit_ms(body),
        )
        return self._answer(call, body, understood(request, self._gateway.artifact))

    async def health(self, call: Call) -> JsonResponse:
        """Say whether the engine really answers; asked by anyone."""
        del call
        fault = await self._gateway.readiness.fault()
        if fault is None:
            return JsonResponse({"status": "ok"})
        problem = Problem(503, "unavailable", fault, RequestOutcome.UNAVAILABLE)
        return JsonResponse({"status": "unavailable", **self.error_body(problem)}, 503)

    async def props(self, call: Call) -> JsonResponse:
        """Describe the server."""
        del call
        settings, artifact = self._gateway.settings, self._gateway.artifact
        return JsonResponse(
            {
                "default_generation_settings": {
                    "n_ctx": self._gateway.max_context,
                    "params": {
                        "n_predict": settings.editor_max_tokens,
                        "temperature": settings.default_temperature,
                    },
                },
                "total_slots": settings.max_running,
                "model_alias": artifact.name,
                "model_path": artifact.name,
                "chat_template": "",
                "modalities": {"vision": False, "audio": False},
                "build_info": "tabwright",
            }
        )

    def _sampling(self, body: Sampling, length: int | None) -> SamplingParams:
        settings = self._gateway.settings
        if length is None:
            length = settings.editor_max_tokens
        elif length <= 0:  # as much as there is room for; 0 never gets to an engine
            length = self._gateway.max_context
        temperature = body.temperature
        temperature = settings.default_temperature if temperature is None else max(0, temperature)
        return SamplingParams(
            max_tokens=length,
            temperature=temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            top_k=max(0, body.top_k or 0),
            seed=None if body.seed in _RANDOM_SEEDS else body.seed,
            min_p=body.early_min_p(temperature),
            repetition_penalty=body.repetition(),
        )

    def _answer(self, call: Call, body: Sampling, request: CompletionRequest) -> ASGIApp:
        self._gateway.check_model(body.model)
        count, limit = body.n_cmpl or 1, self._gateway.settings.max_choices
        if count > limit:
            raise InvalidRequest("n_cmpl", count, f"give at most {limit}")
        running = self._gateway.open(self.name, "infill-", call)
        if body.n_predict == 0:
            warm = Suggestion("", Finish.LENGTH)
            return JsonResponse(self._shown(body, request, running, 0, [warm]))
        choices = list(spread([replace(request, model=body.model)], count))
        reception = self._gateway.reception
        if not body.stream:
            return Answer(
                reception, running, self, lambda: self._whole(body, request, choices, running)
            )
        return EventStream(
            reception, running, self, lambda emit: self._stream(body, choices, running, emit)
        )

    async def _whole(
        self,
        body: Sampling,
        request: CompletionRequest,
        choices: Sequence[Choice],
        running: Running,
    ) -> Json:
        rows = (await collect(self._gateway.completer, choices, running)).rows
        shown = [self._shown(body, request, running, i, pieces) for i, pieces in enumerate(rows)]
        return shown if len(shown) > 1 else shown[0]

    async def _stream(
        self, body: Sampling, choices: Sequence[Choice], running: Running, emit: Emit
    ) -> None:
        async def take(choice: Choice, piece: Suggestion) -> None:
            for index in choice.indices:
                if piece.text:
                    row = {"index": index, "content": piece.text, "tokens": piece.ids}
                    await emit(event({**row, "stop": False}))
                if piece.finish:
                    last = Suggestion("", piece.finish, piece.usage)
                    await emit(event(self._shown(body, choice.request, running, index, [last])))

        await generate(self._gateway.completer, choices, running, take)

    def _shown(
        self,
        body: Sampling,
        request: CompletionRequest,
        running: Running,
        index: int,
        pieces: Sequence[Suggestion],
    ) -> Mapping[str, Any]:
        """One answer, or those of its fields that were asked for."""
        text = "".join(piece.text for piece in pieces)
        last = pieces[-1]
        used = last.usage.prompt_tokens + last.usage.completion_tokens
        answer = {
            "index": index,
            "content": text,
            "tokens": [],
            "stop": True,
            "stop_type": "limit" if last.finish is Finish.LENGTH else "eos",
            "model": self._gateway.artifact.name,
            "tokens_predicted": last.usage.completion_tokens,
            "tokens_evaluated": last.usage.prompt_tokens,
            "tokens_cached": used,
            "truncated": used >= self._gateway.max_context,
            "has_new_line": "\n" in text,
            "generation_settings": self._settings(request),
            "timings": _timings(running, last),
        }
        return _selected(answer, body.response_fields) if body.response_fields else answer

    def _settings(self, request: CompletionRequest) -> Mapping[str, Any]:
        sampling = request.sampling
        return {
            "n_ctx": self._gateway.max_context,
            "n_predict": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "seed": sampling.seed,
            "stop": request.stop,
        }


def _snippets(body: InfillBody) -> tuple[Snippet, ...]:
    """The newest first: these editors append to a ring."""
    return tuple(Snippet(e.filename or "", e.text) for e in reversed(body.input_extra or ()))


def _limit_ms(body: Sampling) -> float | None:
    limit = body.t_max_predict_ms
    return limit if limit is not None and limit > 0 else None


def _timings(running: Running, last: Suggestion) -> Mapping[str, float]:
    """Of the whole request, so that several answers have the same times."""
    shown: dict[str, float] = {}
    counts = (last.usage.prompt_tokens, last.usage.completion_tokens)
    for name, count, took_s in zip(("prompt", "predicted"), counts, spent(running), strict=True):
        shown[f"{name}_n"] = count
        shown[f"{name}_ms"] = took_s * 1000
        shown[f"{name}_per_token_ms"] = took_s * 1000 / count if count else 0.0
        shown[f"{name}_per_second"] = count / took_s if took_s else 0.0
    return shown


def _selected(answer: Mapping[str, Any], fields: Sequence[str]) -> Mapping[str, Any]:
    """The fields by name, nested ones as `outer/inner`; the names stay as they were given."""
    shown = {}
    for field in fields:
        value: Any = answer
        for key in field.split("/"):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            shown[field] = value
    return shown
