"""The engine that asks a Triton server: one exported model, over one gRPC stream that stays open.

All requests share the stream and are told apart by their ids. A request that is left is ended by a
second message with its id, because Triton 24.10 may die of cancelled streams. The same message
with an id that nobody has is the heartbeat: Triton calls a model ready whose process hangs. This
file keeps the books and the connection; `triton_wire.py` has the messages. Read
`TritonEngine.stream` first, then `_converse`.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from server.engines.limits import tokens_granted
from server.engines.line import Line, State, Ticket, blocks_for
from tabwright.artifact import ModelArtifact
from tabwright.engine import EngineStats, Tokens
from tabwright.errors import (
    ConfigError,
    EngineFailed,
    EngineOverloaded,
    EngineUnavailable,
    MissingExtra,
    TabwrightError,
)
from tabwright.request import OPTIONAL_SAMPLING, Finish, SamplingParams
from tabwright.tensors import ARTIFACT_DIGEST, MAX_ACTIVE, MAX_CONTEXT, REFUSES, SOURCE_DIGEST

_NEVER = frozenset({"alternatives", "logit_bias", "prompt_logprobs"})
_CALL_S = 10.0
_RECONNECT_S = 0.2
_FAREWELL_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """Where to ask.

    url: host and port of Triton's gRPC. model: its name there; None means the artifact's. slots,
    waiting: as in every engine. start_timeout_s: for the first answer. stall_timeout_s: a server
    that is silent for so long while requests run is given up.
    """

    url: str = "127.0.0.1:8001"
    model: str | None = None
    slots: int = 8
    waiting: int = 32
    start_timeout_s: float = 30.0
    stall_timeout_s: float = 2.0


def create(artifact: ModelArtifact, **options: object) -> TritonEngine:
    """Make the engine for the registry; options are the fields of `TritonSettings`."""
    return TritonEngine(artifact, TritonSettings(**options))  # type: ignore[arg-type]


class TritonEngine:
    """A `CompletionEngine` that computes elsewhere. It answers inside `async with`."""

    def __init__(self, artifact: ModelArtifact, settings: TritonSettings | None = None) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            MissingExtra: tritonclient is not installed.
        """
        for module in ("grpc", "tritonclient"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(module, "triton")
        self._artifact = artifact
        self._settings = settings or TritonSettings()
        self._model = self._settings.model or artifact.name
        self._line = Line(
            slots=self._settings.slots,
            waiting=self._settings.waiting,
            blocks=self._settings.slots * blocks_for(artifact.max_context),
            start=self._submit,
        )
        self._refuses = OPTIONAL_SAMPLING
        self._down: TabwrightError | None = EngineUnavailable("the engine is not started")
        self._group = anyio.create_task_group()
        self._settled, self._closing, self._ended = anyio.Event(), anyio.Event(), anyio.Event()
        self._outbox: MemoryObjectSendStream[Any] | None = None
        self._name = secrets.token_hex(6)  # several gateways may ask one server
        self._asked: dict[str, Ticket] = {}
        self._owed: dict[str, int] = {}  # final responses still to come, by id
        self._heard_at = self._beat_at = -math.inf
        self._connections = self._generated = self._cancelled = 0

    async def __aenter__(self) -> TritonEngine:
        self._down = EngineUnavailable(f"Triton at {self._settings.url} has not answered")
        await self._group.__aenter__()
        self._group.start_soon(self._keep_connected)
        try:
            with anyio.move_on_after(self._settings.start_timeout_s):
                await self._settled.wait()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        if (error := self._down) is not None:
            await self.__aexit__(None, None, None)
            raise error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        await self._group.__aexit__(None, None, None)

    @property
    def artifact(self) -> ModelArtifact:
        """The model that is served."""
        return self._artifact

    @property
    def max_context(self) -> int:
        """Largest prompt + generated tokens of one request."""
        return self._artifact.max_context

    @property
    def refuses(self) -> frozenset[str]:
        """What the exported model says, and what its tensors cannot."""
        return self._refuses

    @asynccontextmanager
    async def stream(
        self, prompt: Sequence[int], sampling: SamplingParams
    ) -> AsyncIterator[AsyncIterator[Tokens]]:
        """Generate. See `tabwright.engine.CompletionEngine.stream`."""
        granted = tokens_granted(
            prompt,
            sampling,
            vocab_size=self._artifact.vocab_size,
            max_context=self.max_context,
            refuses=self.refuses,
        )
        if self._down is not None:
            # The same error answers every request: it must not gather their tracebacks.
            raise self._down.with_traceback(None)
        ticket = Ticket(tuple(prompt), sampling, granted)
        self._line.join(ticket)
        try:
            yield ticket
        finally:
            ticket.abandon()
            self._leave(ticket)

    def stats(self) -> EngineStats:
        """Count what is held. A cancelled request is held until Triton says that it has ended."""
        return EngineStats(
            running=len(self._line.running),
            waiting=len(self._line.waiting),
            kv_blocks_used=self._line.blocks_used,
            kv_blocks_total=self._line.blocks,
            generated_tokens=self._generated,
            cancelled=self._cancelled,
            restarts=max(0, self._connections - 1),
        )

    async def check(self) -> None:
        """Return when one token has really been generated.

        Raises:
            EngineUnavailable: none was.
        """
        with anyio.move_on_after(_CALL_S):
            try:
                async with self.stream([0], SamplingParams(max_tokens=1)) as pieces:
                    async for _ in pieces:
                        pass
            except EngineOverloaded:
                return  # full, and what runs is watched
            except EngineFailed as error:
                raise EngineUnavailable(str(error)) from error
            return
        raise EngineUnavailable(f"no token within {_CALL_S:.0f} s")

    async def aclose(self) -> None:
        """End every request, and the connection."""
        self._close()
        await self._ended.wait()

    def _close(self) -> None:
        if self._closing.is_set():
            return
        self._down = EngineUnavailable("the engine was closed")
        for ticket in list(self._asked.values()):
            self._stop(ticket)
        self._fail_all(self._down, self._down)
        self._closing.set()

    # Requests.

    def _id(self, ticket: Ticket) -> str:
        return f"{self._name}-{ticket.number}"

    def _submit(self, ticket: Ticket) -> None:
        """Send a request whose turn it is."""
        from server.engines.triton_wire import ask

        request = self._id(ticket)
        self._asked[request], self._owed[request] = ticket, 1
        self._post(ask(self._model, request, ticket.prompt, ticket.sampling, ticket.granted))

    def _leave(self, ticket: Ticket) -> None:
        """Give up a request that has not ended; never waits, so a cancelled scope can do it."""
        if ticket.state is State.LEFT:
            return
        self._cancelled += 1
        if ticket.state is State.WAITING:
            self._line.leave(ticket)
        else:
            self._stop(ticket)  # its slot stays taken until both final responses are here

    def _stop(self, ticket: Ticket) -> None:
        from server.engines.triton_wire import stop

        request = self._id(ticket)
        if request in self._owed:
            self._owed[request] += 1
            self._post(stop(self._model, request))

    def _post(self, message: Any) -> None:
        assert self._outbox is not None, "the line is open only while there is a connection"
        self._outbox.send_nowait(message)

    def _take(self, message: Any) -> None:
        """Hand out what a response brings, and free what ended with it."""
        from server.engines.triton_wire import read

        self._heard_at = time.monotonic()
        heard = read(message)
        self._generated += len(heard.ids)
        ticket = self._asked.get(heard.request)
        if heard.final and heard.request in self._owed:
            self._owed[heard.request] -= 1
        if ticket is not None and ticket.state is State.RUNNING:
            self._tell(ticket, heard)
        if self._owed.get(heard.request) == 0:
            del self._owed[heard.request]
            if (left := self._asked.pop(heard.request, None)) is not None:
                self._line.leave(left)

    def _tell(self, ticket: Ticket, heard: Any) -> None:
        if heard.error is not None:
            ticket.fail(heard.error)
        elif heard.finish == "cancelled":
            ticket.fail(EngineFailed("the model in Triton ended the request; try again"))
        elif heard.ids or heard.finish:
            finish = Finish(heard.finish) if heard.finish else None
            ticket.push(Tokens(heard.ids, tuple(min(0.0, p) for p in heard.logprobs), finish))

    # The connection.

    async def _keep_connected(self) -> None:
        import grpc

        try:
            while not self._closing.is_set():
                try:
                    await self._converse()
                except grpc.aio.AioRpcError as error:
                    if self._line.open:
                        _log.warning("Triton does not answer: %s", error.code().name)
                except ConfigError as error:
                    self._lost(error)
                    self._settled.set()
                if not self._closing.is_set() and not isinstance(self._down, ConfigError):
                    self._lost(EngineUnavailable(f"Triton at {self._settings.url} is gone"))
                with anyio.move_on_after(_RECONNECT_S):
                    await self._closing.wait()
        finally:
            self._ended.set()

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
            self._settings.url, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        # The streams are closed last: until then somebody may leave, and say so.
        with self._outbox, inbox:
            async with channel:
                triton = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                asked = service_pb2.ModelConfigRequest(name=self._model)
                answer = await triton.ModelConfig(asked, timeout=_CALL_S)
                self._examine({k: v.string_value for k, v in answer.config.parameters.items()})
                call = triton.ModelStreamInfer()
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write, call, inbox)
                    group.start_soon(self._watch, group.cancel_scope)
                    group.start_soon(self._say_farewell, call, group.cancel_scope)
                    await self._read(call)
                    group.cancel_scope.cancel()

    def _examine(self, parameters: dict[str, str]) -> None:
        """Compare the exported model with the gateway's: another tokenizer would give noise."""
        digests = {parameters.get(ARTIFACT_DIGEST), parameters.get(SOURCE_DIGEST)}
        if self._artifact.digest not in digests:
            raise ConfigError(
                f"triton_model {self._model!r} was not exported from the model that the gateway "
                f"has ({self._artifact.name}, {self._artifact.digest[:12]}…); point `model` at "
                "the export's checkpoint folder, or export again"
            )
        if int(parameters[MAX_CONTEXT]) < self.max_context:
            raise ConfigError(
                f"triton_model {self._model!r} has a context of {parameters[MAX_CONTEXT]} tokens, "
                f"the gateway's model of {self.max_context}"
            )
        if int(parameters[MAX_ACTIVE]) < self._settings.slots:
            raise ConfigError(
                f"max_running {self._settings.slots} is above the {parameters[MAX_ACTIVE]} "
                f"requests that triton_model {self._model!r} takes; lower it"
            )
        self._refuses = _NEVER | frozenset(filter(None, parameters[REFUSES].split(",")))

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

        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                self._take(message)
                if self._down is not None and not self._closing.is_set():
                    self._up()
        except grpc.aio.AioRpcError as error:
            _log.warning("the stream to Triton broke", extra={"reason": error.code().name})

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Ask for a sign of life while answers are owed, and give up a server without one."""
        from server.engines.triton_wire import stop

        patience_s = self._settings.stall_timeout_s
        beat = f"{self._name}-beat"
        while True:
            if self._owed or self._down is not None:
                self._beat_at = time.monotonic()
                self._post(stop(self._model, beat))
                await anyio.sleep(patience_s / 2)
                if self._heard_at < self._beat_at:
                    await anyio.sleep(patience_s / 2)
                if self._heard_at < self._beat_at:
                    _log.error("the model in Triton is silent; giving up the connection")
                    scope.cancel()
                    return
            else:
                await anyio.sleep(patience_s / 4)

    async def _say_farewell(self, call: Any, scope: anyio.CancelScope) -> None:
        """When closing, let Triton end what runs and then the stream, before it is cut."""
        await self._closing.wait()
        with anyio.move_on_after(_FAREWELL_S):
            while self._owed:  # noqa: ASYNC110, a second at most and only at the end
                await anyio.sleep(0.005)
            await call.done_writing()
            await anyio.sleep(_FAREWELL_S)  # the reader sees the end first, unless Triton hangs
        scope.cancel()

    def _up(self) -> None:
        """The model answers: let requests through."""
        self._down = None
        self._connections += 1
        self._line.open = True
        self._line.advance()
        self._settled.set()

    def _lost(self, error: TabwrightError) -> None:
        """Fail everybody; new requests are refused until the model answers again."""
        self._down = error
        self._fail_all(EngineFailed("Triton was lost while it was answering; try again"), error)
        self._asked.clear()
        self._owed.clear()

    def _fail_all(self, running: TabwrightError, waiting: TabwrightError) -> None:
        self._line.open = False
        for ticket in list(self._line.running.values()):
            ticket.fail(running)
            self._line.leave(ticket)
        for ticket in list(self._line.waiting):
            ticket.fail(waiting)
            self._line.leave(ticket)
