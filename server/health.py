"""`/livez`: the process answers. `/readyz`: the engine really does. `/metrics`: what was counted.

None of them asks for the API key and none shows anything of a request.
"""

from __future__ import annotations

import anyio.to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from server.event_stream import JsonResponse
from server.flag_watch import FlagWatch
from server.metrics import Metrics
from server.readiness import Readiness


def add_health(app: FastAPI, readiness: Readiness, flags: FlagWatch, metrics: Metrics) -> None:
    """Add the three routes to `app`."""

    async def livez(_: Request) -> JsonResponse:
        return JsonResponse({"status": "ok"})

    async def readyz(_: Request) -> JsonResponse:
        told: dict[str, object] = {} if flags.known is None else {"flags": flags.known}
        if reason := await readiness.fault():
            return JsonResponse({"status": "unavailable", "reason": reason} | told, 503)
        models = await readiness.models()
        if len(models) > 1:
            told["models"] = {name: fault or "ok" for name, fault in models.items()}
        return JsonResponse({"status": "ok"} | told)

    async def exposition(request: Request) -> Response:
        names = request.query_params.getlist("name[]")  # as Prometheus' own libraries do
        if metrics.shared:
            metrics.refresh()
            text = await anyio.to_thread.run_sync(metrics.exposition)  # reads the files of all
        else:
            text = metrics.exposition(names)
        return Response(text, media_type="text/plain; version=0.0.4")

    app.add_route("/livez", livez)  # type: ignore[arg-type]
    app.add_route("/readyz", readyz)  # type: ignore[arg-type]
    app.add_route("/metrics", exposition)
