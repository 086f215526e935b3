"""A shorter way to endpoints whose path has no parameters: those that editors ask all the time.

A router compares a path with one pattern after the other and stands behind layers for errors and
files that none of our endpoints leaves to it. What is not in the table goes on to the router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class KnownPaths:
    """A pure ASGI middleware that calls the endpoint of a method and path."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        """Stand in front of `app`, which has the same endpoints and the others."""
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        endpoint = self._endpoints.get((scope.get("method", ""), scope.get("path", "")))
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope["endpoint"], scope["path_params"] = endpoint, {}
        answer = await endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)
