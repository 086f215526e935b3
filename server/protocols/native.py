"""Our own protocol, for editors written for us: `/v1/suggestions`.

Prefix, suffix and pieces of other files in; named server-sent events out, or one object. Everything
a request may wish stands in its body, before the headers of the same meaning. A running suggestion
is cancelled by our id or by the client's. Errors are problem details (RFC 9457). The full
description is `docs/native.md`. Read `Native.suggest` first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from server.caller import MAX_DELAY_MS, Lines, Wishes, checked_user
from server.choices import Choice, generate, spread
from server.event_stream import (
    Answer,
    Emit,
    EventStream,
    Framing,
    JsonResponse,
    Problem,
    named_event,
)
from server.gateway import Call, Gateway, Route, read_wire
from server.inflight import Running
from server.postprocess import VERSIONS
from server.wire import Number, repository_name, stop_strings, usage_body
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, Finish, SamplingParams, Snippet, Suggestion, Usage

_FRAMING = Framing(b"text/event-stream; charset=utf-8", partial(named_event, "error"))


class SnippetBody(BaseModel):
    """A piece of another file."""

    path: StrictStr
    text: StrictStr
    score: Number | None = None


class EagernessBody(BaseModel):
    """How soon, how sure and how long; what is left out is as in the settings."""

    delay_ms: Number | None = Field(None, ge=0, le=MAX_DELAY_MS)
    min_confidence: Number | None = Field(None, ge=0, le=1)
    lines: Lines | None = None


class SuggestionBody(BaseModel):
    """A request for suggestions at a cursor."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prefix: StrictStr
    suffix: StrictStr = ""
    path: StrictStr | None = None
    language: StrictStr | None = None
    repo: StrictStr | None = None
    snippets: list[SnippetBody] = Field(default=[], max_length=256)
    session: StrictStr | None = Field(None, pattern=r"^[\x21-\x7e]{1,128}$")
    request_id: StrictStr | None = Field(None, pattern=r"^[A-Za-z0-9._:-]{1,128}$")
    user: StrictStr | None = None
    model: StrictStr | None = None
    max_tokens: StrictInt | None = Field(None, ge=1)
    temperature: Number = 0.0
    seed: StrictInt | None = None
    n: StrictInt = Field(1, ge=1)
    stop: list[StrictStr] = []
    stream: StrictBool = True
    postprocess: StrictStr | None = None
    typeahead: StrictBool | None = None
    eagerness: EagernessBody | None = None
    deadline_ms: Number | None = Field(None, gt=0)


class Native:
    """Serves the protocol."""

    name = "native"
    error_type = "application/problem+json"

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route("POST", "/v1/suggestions", self.suggest, wire=SuggestionBody),
            Route("DELETE", "/v1/suggestions/{request_id}", self.cancel),
            Route("POST", "/v1/suggestions/{request_id}/cancel", self.cancel),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """Problem details, with the code that clients should go by."""
        known = {status.value: status.phrase for status in HTTPStatus}
        return {
            "type": "about:blank",
            "title": known.get(problem.status, "Request Ended"),
            "status": problem.status,
            "detail": problem.message,
            "code": problem.code,
            "field": problem.param,
            "request_id": problem.request_id or None,
        }

    async def suggest(self, call: Call) -> Answer | EventStream:
        """Answer one request."""
        body = read_wire(SuggestionBody, call.body)
        self._gateway.check_model(body.model)
        if body.n > self._gateway.settings.max_choices:
            raise InvalidRequest("n", body.n, f"give at most {self._gateway.settings.max_choices}")
        choices = list(spread([self._request(body)], body.n))
        running = self._open(call, body)
        reception = self._gateway.reception
        if not body.stream:
            return Answer(reception, running, self, lambda: self._whole(choices, running))
        return EventStream(
            reception,
            running,
            self,
            lambda emit: self._stream(choices, running, emit),
            framing=_FRAMING,
        )

    async def cancel(self, call: Call) -> JsonResponse:
        """End the caller's running suggestions of this id, ours or the client's."""
        request_id = call.path_params["request_id"]
        inflight = self._gateway.reception.inflight
        return JsonResponse({"cancelled": inflight.cancel(request_id, call.caller.key)})

    def _open(self, call: Call, body: SuggestionBody) -> Running:
        running = self._gateway.open(
            self.name,
            "sug-",
            call,
            session=body.session or "",
            request_id=body.request_id or "",
        )
        if body.user is not None:
            running.caller = replace(call.caller, user=checked_user(body.user, "user"))
        if body.deadline_ms is not None:
            limit_s = self._gateway.settings.deadline_s
            running.deadline_s = min(limit_s, body.deadline_ms / 1000)
        running.wishes = _wishes(body, running.wishes)
        return running

    def _request(self, body: SuggestionBody) -> CompletionRequest:
        settings = self._gateway.settings
        return CompletionRequest(
            prefix=body.prefix,
            suffix=body.suffix,
            path=body.path,
            language=body.language,
            snippets=tuple(Snippet(s.path, s.text, s.score) for s in body.snippets),
            sampling=SamplingParams(
                max_tokens=body.max_tokens or settings.editor_max_tokens,
                temperature=body.temperature,
                seed=body.seed,
            ),
            stop=stop_strings(body.stop),
            model=body.model,
            user=body.user,
            repo=repository_name(body.repo),
        )

    async def _whole(self, choices: Sequence[Choice], running: Running) -> Mapping[str, Any]:
        said = _Said(choices)

        async def take(choice: Choice, piece: Suggestion) -> None:
            said.hear(choice, piece)

        usage = await generate(self._gateway.completer, choices, running, take)
        return self._last(said, running, usage, texts=True)

    async def _stream(self, choices: Sequence[Choice], running: Running, emit: Emit) -> None:
        said = _Said(choices)

        async def take(choice: Choice, piece: Suggestion) -> None:
            said.hear(choice, piece)
            for index in choice.indices if piece.text else ():
                body = {"id": running.request_id, "index": index, "text": piece.text}
                await emit(named_event("piece", body))

        usage = await generate(self._gateway.completer, choices, running, take)
        await emit(named_event("done", self._last(said, running, usage, texts=False)))

    def _last(
        self, said: _Said, running: Running, usage: Usage, *, texts: bool
    ) -> Mapping[str, Any]:
        return {
            "id": running.request_id,
            "request_id": running.alias,
            "model": self._gateway.artifact.name,
            "source": running.source,
            "choices": said.rows(texts=texts),
            "usage": usage_body(usage),
            "latency_ms": _latency(running),
        }


@dataclass(slots=True)
class _Heard:
    """What has come of one choice."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish | None = None

    def confidence(self) -> float | None:
        """The geometric mean of the probabilities of the tokens, where they are known."""
        if not self.logprobs:
            return None
        return round(math.exp(sum(self.logprobs) / len(self.logprobs)), 4)


class _Said:
    """Everything that was answered, by choice."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._heard = {choice: _Heard() for choice in choices}

    def hear(self, choice: Choice, piece: Suggestion) -> None:
        heard = self._heard[choice]
        heard.texts.append(piece.text)
        heard.logprobs += piece.logprobs
        heard.finish = piece.finish

    def rows(self, *, texts: bool) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        for choice, heard in self._heard.items():
            shown: dict[str, Any] = {"text": "".join(heard.texts)} if texts else {}
            shown |= {"finish": heard.finish, "confidence": heard.confidence()}
            rows += [{"index": index, **shown} for index in choice.indices]
        return rows


def _wishes(body: SuggestionBody, before: Wishes) -> Wishes:
    """What the body wishes, over what headers and settings say."""
    version = before.postprocess if body.postprocess is None else body.postprocess
    if version not in ("off", *VERSIONS):
        known = ", ".join(("off", *VERSIONS))
        raise InvalidRequest("postprocess", version, f"give one of {known}")
    given = body.eagerness.model_dump(exclude_none=True) if body.eagerness else {}
    eagerness = replace(before.eagerness, **given)
    typeahead = before.typeahead if body.typeahead is None else body.typeahead
    return replace(before, eagerness=eagerness, postprocess=version, typeahead=typeahead)


def _latency(running: Running) -> Mapping[str, float | None]:
    """Milliseconds since the request was read: until its slot, its first token, and now."""
    moments = {
        "wait": running.admitted_at,
        "first_token": running.first_token_at,
        "total": time.perf_counter(),
    }
    return {
        name: None if at is None else round((at - running.started_at) * 1000, 3)
        for name, at in moments.items()
    }
