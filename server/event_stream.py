"""Answers that own the scope of their request: one JSON body, or a stream of JSON objects.

The status line of a stream waits for its first piece, so an engine that fails before the first
token is a proper HTTP status in the client's dialect; what fails later is an error event. Both run
inside `Inflight.run`, so the client's leaving ends either of them at once. What an error *looks*
like belongs to the protocol file (`Dialect`), which status it has to `server.app`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

import anyio
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from server.inflight import EndReason, Inflight, Running
from server.live_settings import LiveSettings
from server.metrics import Metrics, RequestOutcome
from server.model_choice import variants_text
from server.suggestions import Suggestions
from server.visits import answered, received
from tabwright.errors import TabwrightError

logger = logging.getLogger(__name__)

Emit = Callable[[bytes], Awaitable[None]]
_LAST_WORDS_S = 5.0  # a client that does not read may not hold a finished request open


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, before a dialect gives it a shape. request_id: empty before there is one."""

    status: int
    code: str
    message: str
    outcome: RequestOutcome
    param: str | None = None
    retry_after_s: float | None = None
    request_id: str = ""


class Dialect(Protocol):
    """How one protocol says that something went wrong."""

    @property
    def name(self) -> str:
        """The protocol's name, a metric label."""

    @property
    def error_type(self) -> str:
        """The media type of an error answer."""

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """The JSON object of an error answer or error event."""


@dataclass(frozen=True, slots=True)
class Reception:
    """Where requests run and are counted.

    suggestions: is told of every request that ran. problem_of: maps an error to its status.
    live: says when a client that reads nothing counts as gone.
    """

    inflight: Inflight
    metrics: Metrics
    suggestions: Suggestions
    problem_of: Callable[[TabwrightError | EndReason | None], Problem]
    live: LiveSettings


def event(body: Mapping[str, Any]) -> bytes:
    """Frame one JSON object as a server-sent event."""
    return b"data: " + to_json(body) + b"\n\n"


def named_event(name: str, body: Mapping[str, Any]) -> bytes:
    """Frame one JSON object as a server-sent event with a name."""
    return b"event: " + name.encode() + b"\n" + event(body)


def line(body: Mapping[str, Any]) -> bytes:
    """Frame one JSON object as a line of NDJSON."""
    return to_json(body) + b"\n"


@dataclass(frozen=True, slots=True)
class Framing:
    """How a stream separates its objects; `frame` is for errors too."""

    media_type: bytes
    frame: Callable[[Mapping[str, Any]], bytes]


JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
EVENTS = Framing(b"text/event-stream; charset=utf-8", event)
LINES = Framing(b"application/x-ndjson", line)
Json = Mapping[str, Any] | Sequence[Any]


class JsonResponse:
    """A finished JSON answer, compact: llama.vim cannot read a blank after a colon."""

    def __init__(
        self,
        body: Json,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = JSON,
    ) -> None:
        """Render `body`."""
        self.status = status
        self.body = to_json(body)
        self.media_type = media_type
        self.headers = dict(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
        ]
        headers += [(k.encode(), v.encode()) for k, v in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def problem_details(problem: Problem) -> Mapping[str, Any]:
    """Problem details (RFC 9457), with the code that clients should go by."""
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


def problem_response(dialect: Dialect, problem: Problem) -> JsonResponse:
    """Say in `dialect` what went wrong."""
    headers = {"x-request-id": problem.request_id} if problem.request_id else {}
    if problem.retry_after_s is not None:
        # Rounded up: who comes back earlier is refused again.
        headers["retry-after"] = str(max(1, math.ceil(problem.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(problem.retry_after_s * 1000)))
    if problem.status in (401, 403, 408, 413):
        headers["connection"] = "close"  # the body was not read to its end, and will not be
    return JsonResponse(dialect.error_body(problem), problem.status, headers, dialect.error_type)


class Answer:
    """One JSON body, computed while the client is watched."""

    def __init__(
        self,
        reception: Reception,
        running: Running,
        dialect: Dialect,
        work: Callable[[], Awaitable[Json]],
    ) -> None:
        """Answer with what `work` returns."""
        self._reception = reception
        self._running = running
        self._dialect = dialect
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request and send the answer, or what went wrong, or nothing if nobody listens."""
        body: Json = {}

        async def work() -> None:
            nonlocal body
            body = await self._work()

        problem = await _run(self._reception, self._running, receive, work)
        if self._running.reason is EndReason.DISCONNECT:
            return
        response = (
            JsonResponse(body, headers=_told(self._running))
            if problem is None
            else problem_response(self._dialect, problem)
        )
        with anyio.move_on_after(_LAST_WORDS_S):
            await response(scope, receive, send)


class EventStream:
    """Server-sent events, or lines, produced while the client is watched."""

    def __init__(
        self,
        reception: Reception,
        running: Running,
        dialect: Dialect,
        work: Callable[[Emit], Awaitable[None]],
        last: bytes = b"",
        framing: Framing = EVENTS,
    ) -> None:
        """Send the frames that `work` emits, then `last`."""
        self._framing = framing
        self._reception = reception
        self._running = running
        self._dialect = dialect
        self._work = work
        self._last = last
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; the status line goes out with the first frame."""

        problem = await _run(self._reception, self._running, receive, lambda: self._work_for(send))
        if self._running.reason is EndReason.DISCONNECT:
            return
        with anyio.move_on_after(_LAST_WORDS_S):
            last = self._last
            if problem is not None:
                if not self._started:
                    await problem_response(self._dialect, problem)(scope, receive, send)
                    return
                last = self._framing.frame(self._dialect.error_body(problem))
            if not self._started:
                await send(self._start())
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _work_for(self, send: Send) -> None:
        """Send what `work` emits, to a client that reads it."""
        turn = anyio.Lock(fast_acquire=True)  # several choices emit side by side
        patience_s = self._reception.live.now.write_timeout_s

        async def emit(frame: bytes) -> None:
            async with turn:
                patience.deadline = anyio.current_time() + patience_s
                if not self._started:
                    self._started = True
                    await send(self._start())
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                patience.deadline = math.inf

        with anyio.CancelScope() as patience:  # one for all frames: each costs as much as a frame
            await self._work(emit)
        if patience.cancelled_caught:
            self._running.end(EndReason.DISCONNECT)

    def _start(self) -> dict[str, Any]:
        headers = [
            (b"content-type", self._framing.media_type),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # nginx would collect the pieces otherwise
        ]
        headers += [(k.encode(), v.encode()) for k, v in _told(self._running).items()]
        return {"type": "http.response.start", "status": 200, "headers": headers}


def _told(running: Running) -> dict[str, str]:
    """What headers say about an answer: whose it is, where it comes from, and why this one."""
    told = {
        "x-request-id": running.shown_id,
        "x-tabwright-source": running.source,
        "x-tabwright-model": _in_ascii(running.model),
    }
    if running.variants:
        told["x-tabwright-variants"] = variants_text(running.variants)
    return told


@lru_cache(maxsize=256)
def _in_ascii(model: str) -> str:
    return quote(model, safe="/ ")


async def _run(
    reception: Reception, running: Running, receive: Receive, work: Callable[[], Awaitable[None]]
) -> Problem | None:
    """Run `work` in the request's scope and count how it ended."""
    problem: Problem | None = None
    received(running)
    try:
        reason = await reception.inflight.run(running, receive, work)
        if reason is not None:
            problem = reception.problem_of(reason)
    except TabwrightError as error:
        problem = reception.problem_of(error)
        if problem.status >= 500:
            logger.warning("request failed", extra={"code": problem.code})
    except Exception:  # process boundary: the client gets its dialect's error, we get the trace
        logger.exception("request broke")
        problem = reception.problem_of(None)
    outcome = problem.outcome if problem else RequestOutcome.OK
    reception.metrics.finished(running, outcome)
    answered(running.protocol, outcome)
    reception.suggestions.finished(running, outcome)
    return replace(problem, request_id=running.shown_id) if problem else None
