"""The HTTP server: uvicorn with bounds on slow headers, and a drain before it stops.

The first SIGINT or SIGTERM refuses new completions (503, `/readyz` says draining) and lets running
ones finish; a second one, or the limit, ends them. uvicorn itself bounds neither the time nor the
size of a request's head, so a client that sends one byte a minute would keep its connection for
ever. Known limit: while a client has pipelined a second request on the same connection, uvicorn
does not read it, so its leaving is seen only by the deadline of the first.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.inflight import Inflight
from server.live_settings import LiveSettings
from server.settings import ServerSettings
from tabwright.errors import ConfigError

_HEAD_BYTES = 65_536
_KEEP_ALIVE_S = 65  # longer than proxies keep theirs (nginx: 60), so they never meet a closed one
_CLOSE_S = 2  # for answers that are still in a socket's buffer when the drain is over


def loop_options() -> dict[str, bool]:
    """Options for `anyio.run`: uvloop where it is installed."""
    return {"use_uvloop": importlib.util.find_spec("uvloop") is not None}


class Listener(uvicorn.Server):
    """Serves one application on one socket until it is told to stop."""

    def __init__(
        self,
        app: ASGIApp,
        inflight: Inflight,
        live: LiveSettings,
        ready: Callable[[int], None],
    ) -> None:
        """Prepare; `ready` is called with the port once requests are answered."""
        protocol = functools.partial(BoundedHead, live=live)
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(type[asyncio.Protocol], protocol),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_CLOSE_S,
                limit_concurrency=live.now.max_connections,
            )
        )
        self._inflight = inflight
        self._live = live
        live.follow(self._resize)
        self._ready = ready

    async def listen(self, listening: socket.socket | None = None) -> None:
        """Serve on the settings' address, or on a bound socket, until told to stop; then drain.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        await self.serve(sockets=[listening or bind(self._live.now)])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then say so."""
        await super().startup(sockets)
        if sockets:
            self._ready(sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a stop signal; a signal handler may do no more than that."""
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True
        self._inflight.draining = True

    async def main_loop(self) -> None:
        """Run until a stop signal, then until the running requests are done."""
        await super().main_loop()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._drain, tasks.cancel_scope)
            # Polled: it is set by a signal handler, which may not touch the event loop.
            while not self.force_exit:  # noqa: ASYNC110
                await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()

    async def _drain(self, scope: anyio.CancelScope) -> None:
        await self._inflight.drain(self._live.now.drain_s)
        scope.cancel()

    def _resize(self, settings: ServerSettings) -> None:
        self.config.limit_concurrency = settings.max_connections  # read for each connection


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits for the head of a request."""

    def __init__(self, *args: Any, live: LiveSettings, **kwargs: Any) -> None:
        """Take what uvicorn passes, and the limit of now."""
        super().__init__(*args, **kwargs)
        self._header_timeout_s = live.now.header_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._heads = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that never says anything is closed too."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and close when a head grows too long."""
        in_head, heads = self._in_head, self._heads
        if in_head and self._head_timer is None:
            self._start_clock()
        super().data_received(data)
        if in_head and heads == self._heads and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        """Stop the clock and go on."""
        self._heads += 1
        self._in_head = False
        self._head_bytes = 0
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        super().on_message_complete()
        self._in_head = True

    def _start_clock(self) -> None:
        self._head_timer = self.loop.call_later(self._header_timeout_s, self.transport.close)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def bind(settings: ServerSettings) -> socket.socket:
    """Listen on the settings' address.

    Raises:
        ConfigError: it cannot be listened on.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Inherited by accepted sockets. asyncio leaves Nagle's algorithm on for sockets it did not
        # make, and then every answer waits 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host"
        ) from None
