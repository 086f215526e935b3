"""The connection to one Triton server: one gRPC stream that stays open, and who is owed what on it.

All requests share the stream and are told apart by their ids. A request that is left is ended by a
second message with its id, because Triton 24.10 may die of cancelled streams. The same message
with an id that nobody has is the heartbeat: Triton calls a model ready whose process hangs or is
dead. Knows no slots and no line; `triton_wire.py` has the messages. Read `Link._converse` first.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from server.engines.line import Ticket
from tabwright.errors import ConfigError, EngineUnavailable, TabwrightError

_CALL_S = 2.0  # to connect and be told the model's description
_BEATS = 4  # looks at the heart in the time after which a silent server is given up
_STOP_S = 10.0  # more than the exported model gives a generation to end that was aborted
_RECONNECT_S = 0.2
_SELDOM_S = 2.0  # between attempts at a server that has been away for a while
_FAREWELL_S = 1.0
_log = logging.getLogger(__name__)


class LinkOwner(Protocol):
    """Who keeps the line, and is told what happens."""

    def examine(self, url: str, parameters: Mapping[str, str]) -> None:
        """Accept the model of a server by what `config.pbtxt` says, or raise ConfigError."""

    def heard(self, ticket: Ticket, response: Any) -> None:
        """Take what came for a request that is still wanted."""

    def ended(self, ticket: Ticket) -> None:
        """Free what a request holds: the server has done with it."""

    def came(self) -> None:
        """Use the server: its model answers."""

    def lost(self, link: Link, tickets: list[Ticket]) -> None:
        """Use it no more; `tickets` are who was asked of it, and untouched by the link."""


@dataclass(slots=True)
class _Owed:
    """A request that the server has. stopped_at: when it was told to end it."""

    ticket: Ticket
    stopped_at: float = math.inf


class Link:
    """One server. `up` says whether it may be asked; `error` why not."""

    def __init__(self, url: str, model: str, patience_s: float, owner: LinkOwner) -> None:
        """Prepare; `run` connects."""
        self.url = url
        self.up = False
        self.error: TabwrightError | None = EngineUnavailable(f"Triton at {url} has not answered")
        self.tried = anyio.Event()  # the first attempt has succeeded or failed
        self.connections = 0
        self._model = model
        self._patience_s = patience_s
        self._owner = owner
        self._name = secrets.token_hex(6)  # several gateways may ask one server
        self._beat = f"{self._name}-beat"
        self._owed: dict[str, _Owed] = {}
        self._outbox: MemoryObjectSendStream[Any] | None = None
        self._beating = False
        self._closing, self.ended = anyio.Event(), anyio.Event()

    @property
    def load(self) -> int:
        """Requests that the server has, the abandoned ones included."""
        return len(self._owed)

    def ask(self, ticket: Ticket) -> None:
        """Send a request; never waits."""
        from server.engines.triton_wire import ask

        request = f"{self._name}-{ticket.number}"
        self._owed[request] = _Owed(ticket)
        self._post(ask(self._model, request, ticket.prompt, ticket.sampling, ticket.granted))

    def stop(self, ticket: Ticket) -> None:
        """End a request early; never waits. `ended` is told when the server has done so."""
        from server.engines.triton_wire import stop

        request = f"{self._name}-{ticket.number}"
        if (owed := self._owed.get(request)) and math.isinf(owed.stopped_at):
            owed.stopped_at = time.monotonic()
            self._post(stop(self._model, request))

    def close(self) -> None:
        """End every request and then the connection; never waits, `ended` says when."""
        if not self._closing.is_set():
            for owed in list(self._owed.values()):
                self.stop(owed.ticket)
            self._closing.set()

    async def run(self) -> None:
        """Stay connected until closed."""
        import grpc

        pause_s = _RECONNECT_S
        try:
            while not self._closing.is_set():
                error: TabwrightError = EngineUnavailable(
                    f"the model in Triton at {self.url} does not answer"
                )
                before = self.connections
                try:
                    await self._converse()
                except grpc.aio.AioRpcError as failure:
                    if self.up or not self.tried.is_set():
                        _log.warning("Triton at %s does not answer: %s", self.url, failure.code())
                except ConfigError as refusal:
                    error = refusal
                if not self._closing.is_set():
                    self._lose(error)
                pause_s = _RECONNECT_S if self.connections > before else min(_SELDOM_S, 2 * pause_s)
                with anyio.move_on_after(pause_s):
                    await self._closing.wait()
        finally:
            self.up = False
            self.ended.set()

    async def _converse(self) -> None:
        """Connect, check whom we speak to, and serve requests until the stream ends.

        Raises:
            ConfigError: the server has another model.
            AioRpcError: it does not answer.
        """
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self._outbox, inbox = anyio.create_memory_object_stream[Any](math.inf)
        channel = grpc.aio.insecure_channel(
            self.url, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        # The streams are closed last: until then somebody may leave, and say so.
        with self._outbox, inbox:
            async with channel:
                triton = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                asked = service_pb2.ModelConfigRequest(name=self._model)
                answer = await triton.ModelConfig(asked, timeout=_CALL_S)
                told = {k: v.string_value for k, v in answer.config.parameters.items()}
                self._owner.examine(self.url, told)
                call = triton.ModelStreamInfer()
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write, call, inbox)
                    group.start_soon(self._watch, group.cancel_scope)
                    group.start_soon(self._say_farewell, call, group.cancel_scope)
                    await self._read(call)
                    group.cancel_scope.cancel()

    async def _write(self, call: Any, inbox: MemoryObjectReceiveStream[Any]) -> None:
        import asyncio

        import grpc

        try:
            async for message in inbox:
                await call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reader sees the end too

    async def _read(self, call: Any) -> None:
        import grpc

        from server.engines.triton_wire import read

        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                heard = read(message)
                if heard.dead:
                    # Its process has died, or it is being unloaded; Triton goes on saying ready.
                    _log.error("the model in Triton at %s is dead", self.url)
                    return
                if heard.request == self._beat:
                    self._beating = False
                    self._rise()
                else:
                    self._take(heard)
                    await anyio.lowlevel.checkpoint()  # its reader first
        except grpc.aio.AioRpcError as error:
            _log.warning("the stream to Triton at %s broke: %s", self.url, error.code())

    def _take(self, heard: Any) -> None:
        """Hand out what a response brings, and free what ended with it."""
        from server.engines.triton_wire import STOPPED

        owed = self._owed.get(heard.request)
        if owed is None or heard.finish == STOPPED:
            return
        self._owner.heard(owed.ticket, heard)
        if heard.final:
            del self._owed[heard.request]
            self._owner.ended(owed.ticket)

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Ask for a sign of life all the time, and give up a server without one.

        It is looks that are counted, not time: a gateway that was held up itself blames nobody.
        """
        from server.engines.triton_wire import stop

        silent = 0
        self._beating = False
        while True:
            if not self._beating:
                self._beating, silent = True, 0
                self._post(stop(self._model, self._beat))
            await anyio.sleep(self._patience_s / _BEATS)
            silent += self._beating
            overdue = time.monotonic() - _STOP_S
            late = sum(owed.stopped_at < overdue for owed in self._owed.values())
            if late or silent == _BEATS - 1:
                what = f"does not end {late} requests" if late else "is silent"
                _log.error("the model in Triton at %s %s; giving it up", self.url, what)
                scope.cancel()
                return

    async def _say_farewell(self, call: Any, scope: anyio.CancelScope) -> None:
        """When closing, let Triton end what runs and then the stream, before it is cut."""
        await self._closing.wait()
        with anyio.move_on_after(_FAREWELL_S):
            while self._owed:  # noqa: ASYNC110, a second at most and only at the end
                await anyio.sleep(0.005)
            await call.done_writing()
            await anyio.sleep(_FAREWELL_S)  # the reader sees the end first, unless Triton hangs
        scope.cancel()

    def _post(self, message: Any) -> None:
        assert self._outbox is not None, "who is asked is connected"
        self._outbox.send_nowait(message)

    def _rise(self) -> None:
        if self.up or self._closing.is_set():
            return
        self.up, self.error = True, None
        self.connections += 1
        self._owner.came()
        self.tried.set()

    def _lose(self, error: TabwrightError) -> None:
        tickets = [owed.ticket for owed in self._owed.values()]
        self._owed.clear()
        self.up, self.error = False, error
        self._owner.lost(self, tickets)
        self.tried.set()


def least_loaded(links: list[Link]) -> Link:
    """The server that has the fewest requests, of those that answer; of equals, the first."""
    return min((link for link in links if link.up), key=lambda link: link.load)
