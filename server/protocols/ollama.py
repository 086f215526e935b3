"""Ollama's protocol: `/api/generate`, and what its clients ask before: show, tags, version, ps.

With `suffix` (the empty one too) it is fill-in-the-middle. Without it, `raw` or not, a prompt that
the client laid out is understood (`server.templates`) and every other is continued as it is: a
completion model has no chat template. `system`, `template`, `context`, `think`
and `keep_alive` are accepted and not acted on. Read `Ollama.generate` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.types import ASGIApp, Receive, Scope, Send

from server.choices import Choice, collect, generate, spread
from server.event_stream import JSON, LINES, Answer, Emit, EventStream, JsonResponse, Problem, line
from server.gateway import Call, Gateway, Route, read_wire
from server.inflight import Running
from server.llama_sampling import LlamaSampling
from server.templates import understood
from server.wire import Number, spent, stop_strings
from tabwright import __version__
from tabwright.errors import InvalidRequest, UnknownModel
from tabwright.fim import PREFIX, SUFFIX
from tabwright.request import CompletionRequest, SamplingParams, Suggestion

_LATEST = ":latest"
_VERSION = f"0.12.0+tabwright.{__version__}"  # clients ask for a least version of Ollama's
_FOREVER = "2318-01-01T00:00:00Z"  # the model is never unloaded


class GenerateOptions(LlamaSampling):
    """`options` of a request."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    num_predict: StrictInt | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: StrictInt | None = Field(default=None, ge=0)
    seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None


class GenerateBody(BaseModel):
    """A completion request."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model: StrictStr | None = None
    prompt: StrictStr | None = None
    suffix: StrictStr | None = None
    stream: StrictBool | None = None
    raw: StrictBool | None = None
    options: GenerateOptions | None = None
    format: Any = None
    images: Any = None


class ShowBody(BaseModel):
    """A question about a model; old clients say `name`."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: StrictStr | None = None
    name: StrictStr | None = None


class Ollama:
    """Serves the protocol."""

    name = "ollama"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway
        self._started = _now()

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route(
                "POST",
                "/api/generate",
                self.generate,
                wire=GenerateBody,
                answers=("application/json", "application/x-ndjson"),
            ),
            Route("POST", "/api/show", self.show, wire=ShowBody),
            Route("GET", "/api/tags", self.tags),
            Route("GET", "/api/ps", self.ps),
            Route("GET", "/api/version", self.version),
            Route("GET", "/", self.root, public=True, answers=("text/plain",)),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """One string."""
        return {"error": problem.message}

    async def generate(self, call: Call) -> ASGIApp:
        """Answer one completion request; without any text it is a wish to load the model."""
        body = read_wire(GenerateBody, call.body)
        self._check_model(body.model)
        for field, value in (("format", body.format), ("images", body.images)):
            if value:
                raise InvalidRequest(field, "...", "this server does not support it; leave it out")
        model = body.model or self._gateway.artifact.name
        request = self._request(body)
        if not body.prompt and not body.suffix:
            loaded = _row(model, "") | {"done": True, "done_reason": "load"}
            return JsonResponse(loaded)
        choices = list(spread([request], 1))
        running = self._gateway.open(self.name, "gen-", call)
        reception = self._gateway.reception
        if body.stream is False:
            return Answer(reception, running, self, lambda: self._whole(model, choices, running))
        return EventStream(
            reception,
            running,
            self,
            lambda emit: self._stream(model, choices, running, emit),
            framing=LINES,
        )

    async def show(self, call: Call) -> JsonResponse:
        """Describe the model; `.Suffix` in the template tells clients that it fills in."""
        body = read_wire(ShowBody, call.body)
        self._check_model(body.model or body.name)
        artifact = self._gateway.artifact
        architecture = str(artifact.config.get("model_type", "llama"))
        return JsonResponse(
            {
                "modelfile": "",
                "parameters": f"num_ctx                        {self._gateway.max_context}",
                "template": self._template(),
                "details": self._details(),
                "model_info": {
                    "general.architecture": architecture,
                    f"{architecture}.context_length": self._gateway.max_context,
                },
                "capabilities": ["completion", "insert"],
                "modified_at": self._started,
            }
        )

    async def tags(self, call: Call) -> JsonResponse:
        """List the one model."""
        del call
        return JsonResponse({"models": [self._card() | {"modified_at": self._started}]})

    async def ps(self, call: Call) -> JsonResponse:
        """List what is loaded: the one model, for ever."""
        del call
        context = self._gateway.max_context
        loaded = {"expires_at": _FOREVER, "size_vram": 0, "context_length": context}
        return JsonResponse({"models": [self._card() | loaded]})

    async def version(self, call: Call) -> JsonResponse:
        """Name a version of Ollama whose routes these are."""
        del call
        return JsonResponse({"version": _VERSION})

    async def root(self, call: Call) -> _Alive:
        """Say what clients that look for Ollama expect."""
        del call
        return _Alive()

    def _check_model(self, name: str | None) -> None:
        try:
            self._gateway.check_model((name or "").removesuffix(_LATEST))
        except UnknownModel:
            raise UnknownModel(f"model '{(name or '')[:80]}' not found") from None

    def _template(self) -> str:
        fim = self._gateway.artifact.fim
        shown = {PREFIX: "{{ .Prompt }}", SUFFIX: "{{ .Suffix }}"}
        layout = "".join(shown.get(part, part) for part in fim.family.layouts[fim.order])
        return "{{- if .Suffix }}" + layout + "{{- else }}{{ .Prompt }}{{- end }}"

    def _details(self) -> Mapping[str, Any]:
        family = self._gateway.artifact.fim.family.name
        return {
            "parent_model": "",
            "format": "safetensors",
            "family": family,
            "families": [family],
            "parameter_size": "",
            "quantization_level": "",
        }

    def _card(self) -> dict[str, Any]:
        artifact = self._gateway.artifact
        return {
            "name": artifact.name + _LATEST,
            "model": artifact.name + _LATEST,
            "size": sum(path.stat().st_size for path in artifact.weight_files),
            "digest": artifact.digest,
            "details": self._details(),
        }

    def _request(self, body: GenerateBody) -> CompletionRequest:
        settings = self._gateway.settings
        options = body.options or GenerateOptions()
        temperature, length = options.temperature, options.num_predict
        if length is None:
            length = settings.editor_max_tokens
        sampling = SamplingParams(
            max_tokens=length if length > 0 else self._gateway.max_context,
            temperature=settings.default_temperature if temperature is None else temperature,
            top_p=1.0 if options.top_p is None else options.top_p,
            top_k=options.top_k or 0,
            seed=options.seed,
            min_p=options.min_p or 0.0,
            repetition_penalty=options.repetition(),
        )
        request = CompletionRequest(
            prefix=body.prompt or "",
            suffix=body.suffix,
            sampling=sampling,
            stop=stop_strings(options.stop),
            model=(body.model or "").removesuffix(_LATEST) or None,
        )
        return understood(request, self._gateway.artifact)

    async def _whole(
        self, model: str, choices: Sequence[Choice], running: Running
    ) -> Mapping[str, Any]:
        pieces = (await collect(self._gateway.completer, choices, running)).rows[0]
        return _last(model, "".join(piece.text for piece in pieces), pieces[-1], running)

    async def _stream(
        self, model: str, choices: Sequence[Choice], running: Running, emit: Emit
    ) -> None:
        async def take(_: Choice, piece: Suggestion) -> None:
            if piece.text:
                await emit(line(_row(model, piece.text) | {"done": False}))
            if piece.finish:
                await emit(line(_last(model, "", piece, running)))

        await generate(self._gateway.completer, choices, running, take)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _row(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "created_at": _now(), "response": text}


def _last(model: str, text: str, last: Suggestion, running: Running) -> dict[str, Any]:
    """The object that ends an answer; durations are nanoseconds."""
    prompt_ns, answer_ns = (int(took_s * 1e9) for took_s in spent(running))
    return _row(model, text) | {
        "done": True,
        "done_reason": last.finish,
        "total_duration": prompt_ns + answer_ns,
        "load_duration": 0,
        "prompt_eval_count": last.usage.prompt_tokens,
        "prompt_eval_duration": prompt_ns,
        "eval_count": last.usage.completion_tokens,
        "eval_duration": answer_ns,
    }


class _Alive:
    """Ollama's own words, as text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        del scope, receive
        text = b"Ollama is running"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})
