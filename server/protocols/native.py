"""Our own protocol, for editors written for us: `/v1/suggestions`.

Prefix, suffix and pieces of other files in; named server-sent events out, or one object. Everything
a request may wish stands in its body, before the headers of the same meaning. A running suggestion
is cancelled by our id or by the client's. Errors are problem details (RFC 9457). The full
description is `docs/native.md`. Read `Native.suggest` first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

from server.caller import MAX_DELAY_MS, KeyScope, Lines, Wishes, checked_user
from server.choices import Choice, generate, spread
from server.event_stream import (
    PROBLEM_JSON,
    Answer,
    Emit,
    EventStream,
    Framing,
    JsonResponse,
    Problem,
    named_event,
    problem_details,
)
from server.gateway import JSON_OR_EVENTS, Call, Gateway, Route, read_wire
from server.gathered import Gathered
from server.inflight import Running
from server.postprocess import VERSIONS
from server.suggestions import Receipt
from server.telemetry import EventKind, Part, Suggested, SuggestionEvent
from server.wire import Number, latency_ms, repository_name, stop_strings, usage_body
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, SamplingParams, Snippet, Suggestion, Usage

_ID = r"^[A-Za-z0-9._:-]{1,128}$"
_BATCH = 256
_CLOCKS_S = 300.0  # an editor's clock may be so far ahead
_ONLY = {
    "shown_ms": ("shown", "accepted", "dismissed"),
    "part": ("accepted",),
    "chars": ("accepted",),
    "explicit": ("dismissed",),
    "retained": ("retained",),
}
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
    request_id: StrictStr | None = Field(None, pattern=_ID)
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
    deadline_ms: Number | None = Field(None, ge=100)


class RetainedBody(BaseModel):
    """How much of an accepted suggestion still stands after a while."""

    after_s: Number = Field(gt=0, le=604_800)
    share: Number = Field(ge=0, le=1)


class EventReport(BaseModel):
    """What became of a suggestion."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    id: StrictStr = Field(pattern=_ID)
    suggestion_id: StrictStr = Field(pattern=_ID)
    kind: Literal["shown", "accepted", "dismissed", "retained"]
    choice: StrictInt = Field(0, ge=0, le=10_000)
    at: Number | None = Field(None, ge=0)
    shown_ms: Number | None = Field(None, ge=0, le=1e9)
    part: Part | None = None
    chars: StrictInt | None = Field(None, ge=0, le=10_000_000)
    explicit: StrictBool | None = None
    retained: RetainedBody | None = None

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> EventReport:
        for name, kinds in _ONLY.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} belongs to {' and '.join(kinds)} only")
        if self.kind == "retained" and self.retained is None:
            raise ValueError("retained needs {after_s, share}")
        return self

    def event(self, place: int) -> SuggestionEvent:
        """The event that it reports.

        Raises:
            InvalidRequest: it is said to happen in the future.
        """
        now = time.time()
        if self.at is not None and self.at > now + _CLOCKS_S:
            raise InvalidRequest(
                f"events.{place}.at", self.at, "give seconds since 1970, not in the future"
            )
        return SuggestionEvent(
            self.id,
            EventKind(self.kind),
            now if self.at is None else self.at,
            Suggested(self.suggestion_id),
            Native.name,
            choice=self.choice,
            shown_ms=self.shown_ms,
            part=(self.part or Part.FULL) if self.kind == "accepted" else None,
            chars=self.chars,
            explicit=self.explicit,
            after_s=self.retained.after_s if self.retained else None,
            retained_share=self.retained.share if self.retained else None,
        )


class EventBatch(BaseModel):
    """Reports in the order in which they are to be counted."""

    events: list[EventReport] = Field(max_length=_BATCH)


class Native:
    """Serves the protocol."""

    name = "native"
    error_type = PROBLEM_JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route(
                "POST", "/v1/suggestions", self.suggest, wire=SuggestionBody, answers=JSON_OR_EVENTS
            ),
            Route(
                "POST",
                "/v1/suggestions/events",
                self.report,
                wire=EventBatch,
                scope=KeyScope.EVENTS,
                success=202,
            ),
            Route("DELETE", "/v1/suggestions/{request_id}", self.cancel),
            Route("POST", "/v1/suggestions/{request_id}/cancel", self.cancel),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """Problem details."""
        return problem_details(problem)

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
        return JsonResponse({"cancelled": inflight.cancel(request_id, call.caller)})

    async def report(self, call: Call) -> JsonResponse:
        """Record a batch of events, each of them once however often it comes."""
        batch = read_wire(EventBatch, call.body)
        events = [report.event(place) for place, report in enumerate(batch.events)]
        receipts = await self._gateway.reception.suggestions.report(events, call.caller)
        told = (Receipt.COUNTED, Receipt.UNKNOWN, Receipt.REPEATED)
        return JsonResponse({receipt: receipts[receipt] for receipt in told}, 202)

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
        said = Gathered(choices)

        async def take(choice: Choice, piece: Suggestion) -> None:
            said.hear(choice, piece)

        usage = await generate(self._gateway.completer, choices, running, take)
        return self._last(said, running, usage, texts=True)

    async def _stream(self, choices: Sequence[Choice], running: Running, emit: Emit) -> None:
        said = Gathered(choices)

        async def take(choice: Choice, piece: Suggestion) -> None:
            said.hear(choice, piece)
            for index in choice.indices if piece.text else ():
                body = {"id": running.request_id, "index": index, "text": piece.text}
                await emit(named_event("piece", body))

        usage = await generate(self._gateway.completer, choices, running, take)
        await emit(named_event("done", self._last(said, running, usage, texts=False)))

    def _last(
        self, said: Gathered, running: Running, usage: Usage, *, texts: bool
    ) -> Mapping[str, Any]:
        return {
            "id": running.request_id,
            "request_id": running.alias,
            "model": running.model,
            "variants": {flag.lstrip("!"): name for flag, name in running.variants.items()},
            "source": running.source,
            "choices": _rows(said, texts=texts),
            "usage": usage_body(usage),
            "latency_ms": latency_ms(running),
        }


def _rows(said: Gathered, *, texts: bool) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for choice, heard in said.answers():
        shown: dict[str, Any] = {"text": heard.text} if texts else {}
        shown |= {"finish": heard.finish, "confidence": heard.confidence}
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
    asked = {"postprocess"} if body.postprocess is not None else set()
    return replace(
        before,
        eagerness=eagerness,
        postprocess=version,
        typeahead=typeahead,
        asked=before.asked | asked | ({"lines"} & set(given)),
    )
