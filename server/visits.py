"""One HTTP request as operators see it: a line in the log, whatever route and protocol it took.

`Visits` stands around the application and opens a `Visit`; the parts further in write down what
they learn. The route is told by its template: paths, queries, keys and texts are the caller's.
Probes of health and metrics are told at DEBUG. What uvicorn refuses by itself does not get here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.inflight import Running
from server.logs import REQUEST_ID
from server.metrics import RequestOutcome

logger = logging.getLogger("server.access")

_GONE = 499  # the client left before it got a status
_PROBES = frozenset({"/livez", "/readyz", "/metrics", "/health"})


@dataclass(slots=True, eq=False)
class Visit:
    """What is known of one HTTP request."""

    method: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    started_at: float = field(default_factory=time.perf_counter)
    ended_at: float = 0.0
    route: str = "unknown"
    status: int = _GONE
    protocol: str | None = None
    outcome: RequestOutcome | None = None
    running: Running | None = None

    @property
    def probe(self) -> bool:
        """Whether it only asked how the gateway is."""
        return self.route in _PROBES

    def facts(self) -> dict[str, Any]:
        """What may be shown of it."""
        facts: dict[str, Any] = {"method": self.method, "route": self.route, "status": self.status}
        if self.protocol is not None and self.outcome is not None:
            facts |= {"protocol": self.protocol, "outcome": self.outcome.value}
        if (running := self.running) is not None:
            facts |= {
                "request_id": running.request_id,
                "language": running.language,
                "tokens": running.tokens,
                "source": running.source.value,
            }
            if running.alias is not None:
                facts["client_request_id"] = running.alias
            if running.reason is not None:
                facts["reason"] = running.reason.value
        return facts


_VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)


def received(running: Running) -> None:
    """Write down that the request became a completion; log lines name it from here on."""
    REQUEST_ID.set(running.request_id)
    if (visit := _VISIT.get()) is not None:
        visit.running = running


def answered(protocol: str, outcome: RequestOutcome) -> None:
    """Write down who answered the request and how it ended."""
    if (visit := _VISIT.get()) is not None:
        visit.protocol, visit.outcome = protocol, outcome


class Visits:
    """A pure ASGI middleware that tells of every request when it is over."""

    def __init__(
        self,
        app: ASGIApp,
        templates: Mapping[Any, str],
        on_end: Callable[[Visit], None] | None = None,
    ) -> None:
        """Stand in front of `app`. templates: endpoint → path. on_end: is told of each visit."""
        self._app = app
        self._templates = templates
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(scope["method"], scope["headers"])
        token = _VISIT.set(visit)
        REQUEST_ID.set(None)  # a pipelined request begins in the context of the one before

        async def outward(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, outward)
        except Exception:
            visit.status = 500  # starlette answers it further out
            raise
        finally:
            _VISIT.reset(token)
            visit.route = self._templates.get(scope.get("endpoint"), visit.route)
            self._tell(visit)

    def _tell(self, visit: Visit) -> None:
        visit.ended_at = time.perf_counter()
        level = logging.DEBUG if visit.probe else logging.INFO
        if logger.isEnabledFor(level):
            ms = round((visit.ended_at - visit.started_at) * 1000, 1)
            logger.log(level, "request", extra=visit.facts() | {"ms": ms})
        if self._on_end is not None:
            self._on_end(visit)
