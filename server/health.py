"""`/livez`: the process answers. `/readyz`: the engine really does. `/metrics`: what was counted.

None of them asks for the API key and none shows anything of a request.
"""

from __future__ import annotations

import anyio
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from server.event_stream import JsonResponse
from server.inflight import Inflight
from server.metrics import Metrics
from tabwright.engine import CompletionEngine
from tabwright.errors import TabwrightError

_READY_LIMIT_S = 5.0


def add_health(
    app: FastAPI, engine: CompletionEngine, inflight: Inflight, metrics: Metrics
) -> None:
    """Add the three routes to `app`."""

    async def livez(_: Request) -> JsonResponse:
        return JsonResponse({"status": "ok"})

    async def readyz(_: Request) -> JsonResponse:
        reason = "draining" if inflight.draining else await engine_fault(engine)
        if reason:
            return JsonResponse({"status": "unavailable", "reason": reason}, 503)
        return JsonResponse({"status": "ok"})

    async def exposition(request: Request) -> Response:
        names = request.query_params.getlist("name[]")  # as Prometheus' own libraries do
        return Response(metrics.exposition(names), media_type="text/plain; version=0.0.4")

    app.add_route("/livez", livez)  # type: ignore[arg-type]
    app.add_route("/readyz", readyz)  # type: ignore[arg-type]
    app.add_route("/metrics", exposition)


async def engine_fault(engine: CompletionEngine) -> str | None:
    """Say why the engine cannot answer, or None when it can."""
    with anyio.move_on_after(_READY_LIMIT_S):
        try:
            await engine.check()
        except TabwrightError as error:
            return str(error)
        return None
    return f"the engine did not answer within {_READY_LIMIT_S:g} s"
