"""Tabby's protocol, as tabby-agent 1.5 and later speak it.

`/v1/health`, `/v1beta/server_setting`, `/v1/completions` by `segments`, `/v1/events`. The prompt is
built here, always cut to the context. Errors are a plain string: some clients of this protocol
concatenate `error`, and the agent reads the status only. Read `Tabby.complete` first.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.types import Receive, Scope, Send

from server.caller import KeyScope
from server.choices import generate, spread
from server.event_stream import JSON, Answer, JsonResponse, Problem
from server.gateway import Call, Gateway, Route, read_wire
from server.suggestions import event_id
from server.telemetry import EventKind, Part, Suggested, SuggestionEvent
from server.wire import Number, repository_name
from tabwright import __version__
from tabwright.request import CompletionRequest, SamplingParams, Snippet, Suggestion

_KINDS = {
    "view": EventKind.SHOWN,
    "select": EventKind.ACCEPTED,
    "dismiss": EventKind.DISMISSED,
}


class Declaration(BaseModel):
    """A piece of another file."""

    filepath: StrictStr
    body: StrictStr
    score: Number | None = None


class Segments(BaseModel):
    """The text around the cursor, and what the editor thinks belongs to it."""

    prefix: StrictStr
    suffix: StrictStr | None = None
    filepath: StrictStr | None = None
    git_url: StrictStr | None = None
    declarations: list[Declaration] | None = None
    relevant_snippets_from_changed_files: list[Declaration] | None = None
    relevant_snippets_from_recently_opened_files: list[Declaration] | None = None


class SegmentsBody(BaseModel):
    """A completion request."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    segments: Segments
    language: StrictStr | None = None
    user: StrictStr | None = None
    temperature: Annotated[float, Field(allow_inf_nan=False)] | None = None
    seed: StrictInt | None = None


class EventBody(BaseModel):
    """What became of a suggestion."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    type: Literal["view", "select", "dismiss"]
    completion_id: StrictStr = Field(max_length=128)
    choice_index: StrictInt = Field(ge=0)
    view_id: StrictStr | None = Field(None, max_length=128)
    elapsed: Annotated[float, Field(ge=0)] | None = None
    select_kind: StrictStr | None = Field(None, max_length=32)


class Tabby:
    """Serves the protocol."""

    name = "tabby"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route(
                "POST",
                "/v1/completions",
                self.complete,
                claims=lambda body: "segments" in body and "prompt" not in body,
                wire=SegmentsBody,
            ),
            Route(
                "POST",
                "/v1/events",
                self.event,
                wire=EventBody,
                scope=KeyScope.EVENTS,
                answers=(),
            ),
            Route("GET", "/v1/health", self.health),
            Route("POST", "/v1/health", self.health),
            Route("GET", "/v1beta/server_setting", self.server_setting),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """One string."""
        return {"error": problem.message}

    async def complete(self, call: Call) -> Answer:
        """Answer one completion request."""
        body = read_wire(SegmentsBody, call.body)
        running = self._gateway.open(self.name, "cmpl-", call)
        request = self._request(body)

        async def work() -> Mapping[str, Any]:
            pieces: list[str] = []

            async def take(_: object, piece: Suggestion) -> None:
                pieces.append(piece.text)

            await generate(self._gateway.completer, list(spread([request], 1)), running, take)
            text = "".join(pieces)
            return {"id": running.request_id, "choices": [{"index": 0, "text": text}]}

        return Answer(self._gateway.reception, running, self, work)

    async def event(self, call: Call) -> _Empty:
        """Record what an editor reports; `select_kind` stands in the query too."""
        given = call.query.get("select_kind")
        body = read_wire(EventBody, {**call.body, **({"select_kind": given} if given else {})})
        part = Part.LINE if body.select_kind == "line" else Part.FULL
        event = SuggestionEvent(
            event_id(),
            _KINDS[body.type],
            time.time(),
            Suggested(body.completion_id),
            self.name,
            choice=body.choice_index,
            shown_ms=body.elapsed,
            part=part if body.type == "select" else None,
        )
        await self._gateway.reception.suggestions.report([event], call.caller)
        return _Empty()

    async def health(self, call: Call) -> JsonResponse:
        """Say who serves what; without `version.git_describe` the agent's process dies."""
        del call
        return JsonResponse(
            {
                "model": self._gateway.artifact.name,
                "device": "cpu",
                "arch": platform.machine(),
                "cpu_info": platform.processor() or platform.machine(),
                "cpu_count": os.cpu_count() or 1,
                "cuda_devices": [],
                "version": {
                    "build_date": "",
                    "build_timestamp": "",
                    "git_sha": self._gateway.artifact.digest[:12],
                    # The agent skips server_setting below 0.9.0, so ours stands behind theirs.
                    "git_describe": f"v0.30.0-tabwright-{__version__}",
                },
            }
        )

    async def server_setting(self, call: Call) -> JsonResponse:
        """Tell the agent not to report to its vendor's cloud."""
        del call
        return JsonResponse({"disable_client_side_telemetry": True})

    def _request(self, body: SegmentsBody) -> CompletionRequest:
        segments = body.segments
        others = (
            *(segments.declarations or ()),
            *(segments.relevant_snippets_from_changed_files or ()),
            *(segments.relevant_snippets_from_recently_opened_files or ()),
        )
        return CompletionRequest(
            prefix=segments.prefix,
            suffix=segments.suffix or "",
            path=segments.filepath,
            language=body.language,
            repo=repository_name(segments.git_url),
            snippets=tuple(Snippet(o.filepath, o.body, o.score) for o in others),
            sampling=SamplingParams(
                max_tokens=self._gateway.settings.editor_max_tokens,
                temperature=body.temperature or 0.0,
                seed=body.seed,
            ),
            user=body.user,
        )


class _Empty:
    """200 without a body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
