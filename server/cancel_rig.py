"""The test bench of `server.cancel_bench`: a gateway on real ports, an engine that is watched,
developers who keep it busy, and clients that leave.

Everything runs in one event loop, so a slot's release is seen within about a millisecond and no
second thread disturbs the figures. nginx runs as a process of its own.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteStream
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.app import create_app
from server.engines.registry import load_engine
from server.gateway import Gateway
from server.listener import Listener
from server.nginx_front import nginx_in_front
from server.raw_client import Target, send
from server.settings import ServerSettings
from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine, EngineStats, Tokens
from tabwright.request import SamplingParams

OTHERS = 8
SPARE = 2  # slots beside the eight: one for the victim, one for what supersedes it
VICTIM = "victim"
_VICTIM_SEED = 1_000_000
_GOOD = b"HTTP/1.1 200"
_ERROR_PAUSE_S = 0.05
_ENTERS_S = 10.0
_SOURCE = Path(__file__).read_text(encoding="utf-8")


class WatchedEngine:
    """Passes everything to `engine`; knows whose stream is open and when tokens came."""

    def __init__(self, engine: CompletionEngine) -> None:
        """Watch `engine`."""
        self._engine = engine
        self.others = 0
        self.victims = 0
        self.victim_tokens = 0
        self.step_ms: list[float] = []
        self.victim_entered = anyio.Event()

    @property
    def artifact(self) -> ModelArtifact:
        """The model."""
        return self._engine.artifact

    @property
    def max_context(self) -> int:
        """The engine's own."""
        return self._engine.max_context

    @property
    def refuses(self) -> frozenset[str]:
        """The engine's own."""
        return self._engine.refuses

    @property
    def worker_pid(self) -> int | None:
        """The process that computes, where the engine has one."""
        pid: int | None = getattr(self._engine, "worker_pid", None)
        return pid

    async def in_worker(self) -> int:
        """Requests that the worker itself still has, whatever our books say."""
        ask = getattr(self._engine, "worker_stats", None)
        return (await ask()).active if ask else 0

    def stats(self) -> EngineStats:
        """The engine's own."""
        return self._engine.stats()

    async def check(self) -> None:
        """Ask the engine."""
        await self._engine.check()

    async def aclose(self) -> None:
        """End the engine."""
        await self._engine.aclose()

    @asynccontextmanager
    async def stream(
        self, prompt: Sequence[int], sampling: SamplingParams
    ) -> AsyncIterator[AsyncIterator[Tokens]]:
        """Stream, and note who does."""
        victim = (sampling.seed or 0) >= _VICTIM_SEED
        async with self._engine.stream(prompt, sampling) as tokens:
            self.victims += victim
            self.others += not victim
            if victim:
                self.victim_entered.set()
            try:
                yield self._watch(tokens, victim)
            finally:
                self.victims -= victim
                self.others -= not victim

    async def _watch(self, tokens: AsyncIterator[Tokens], victim: bool) -> AsyncIterator[Tokens]:
        before: float | None = None
        async for piece in tokens:
            now = time.perf_counter()
            if victim:
                self.victim_tokens += len(piece.ids)
            elif before is not None and self.others >= OTHERS:
                self.step_ms.append((now - before) * 1000)
            before = now
            yield piece


class PassThrough:
    """A pure ASGI middleware that wraps `receive` and `send` and changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand in front of `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""

        async def inward() -> Message:
            return await receive()

        async def outward(message: Message) -> None:
            await send(message)

        await self._app(scope, inward, outward)


@dataclass
class Rig:
    """A gateway under load: `port` is direct, `wrapped` behind a middleware, `proxied` also behind
    nginx."""

    engine: WatchedEngine
    gateway: Gateway
    port: int
    wrapped: int
    proxied: int | None
    changed: int = 0
    compared: int = 0
    error: str = ""  # the last answer that was one
    expected: dict[int, str | None] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def body(self, number: int = 0, **fields: Any) -> dict[str, Any]:
        """A request for code; each `number` has another prompt, with most of the context used."""
        start = 200 + number * 97
        body = {"prompt": _SOURCE[start : start + 1200], "temperature": 0, "max_tokens": 256}
        return body | fields

    def victim(self, **fields: Any) -> dict[str, Any]:
        """The request that will be abandoned; its prompt is in no cache."""
        start = self._chance.randrange(len(_SOURCE) // 2)
        prompt = _SOURCE[start : start + 1200]
        return self.body(prompt=prompt, seed=_VICTIM_SEED, max_tokens=400) | fields

    async def flows(self, stream: ByteStream) -> bool:
        """Read a few pieces; whether more will come. After an error none does; it is noted."""
        seen = b""
        while seen.count(b"data: ") < 3 and b"\r\n0\r\n" not in seen:
            try:
                seen += await stream.receive()
            except anyio.EndOfStream:
                seen = seen or b"no answer"
                break
            if len(seen) > len(_GOOD) and not seen.startswith(_GOOD):
                break
        if not seen.startswith(_GOOD):
            self.error = seen.partition(b"\r\n")[0].decode("latin-1")
            await anyio.sleep(_ERROR_PAUSE_S)
            return False
        return b"\r\n0\r\n" not in seen

    async def enters(self) -> bool:
        """Whether the next victim gets as far as the engine; one that is refused does not."""
        with anyio.move_on_after(_ENTERS_S):
            await self.engine.victim_entered.wait()
            return True
        return False

    def victim_is_gone(self) -> bool:
        """Whether nothing of the victim is left: no scope, no place, no slot, no block."""
        stats = self.engine.stats()
        return (
            not self.gateway.reception.inflight.find(VICTIM)
            and not self.engine.victims
            and stats.running + stats.waiting <= self.engine.others
        )

    def running(self) -> int:
        """Requests inside the gateway."""
        return len(self.gateway.reception.inflight)

    async def until(
        self, condition: Callable[[], bool], since: float | None = None, limit_s: float = 120
    ) -> float:
        """Milliseconds from `since` until `condition`, looked at about once a millisecond.

        Raises:
            TimeoutError: it did not come.
        """
        start = since or time.perf_counter()
        with anyio.fail_after(limit_s):
            # Polled, because the engine's books have no bell.
            while not condition():  # noqa: ASYNC110
                await anyio.sleep(0.0005)
        return (time.perf_counter() - start) * 1000

    async def others(self, count: int = OTHERS, **fields: Any) -> None:
        """Keep `count` requests running until cancelled, each compared with what it said first."""
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(self._developer, number, fields)

    async def _developer(self, number: int, fields: Mapping[str, Any]) -> None:
        while True:
            text = await self.text(self.body(number, stream=True, **fields))
            if text is None:
                await anyio.sleep(_ERROR_PAUSE_S)
                continue
            self.compared += 1
            self.changed += text != self.expected.setdefault(number, text)

    async def text(self, body: Mapping[str, Any]) -> str | None:
        """The whole text of a streamed answer; None if it was an error."""
        async with self.client(self.port, body, connection="close") as stream:
            data = b"".join([chunk async for chunk in stream])
        if b"[DONE]" not in data:
            return None
        lines = [line[6:] for line in data.split(b"\n") if line.startswith(b'data: {"id')]
        return "".join(json.loads(line)["choices"][0]["text"] for line in lines)

    @asynccontextmanager
    async def client(
        self, port: int, body: Mapping[str, Any], **headers: str
    ) -> AsyncIterator[ByteStream]:
        """Send a request; leaving the block closes the connection."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with send(
            Target("127.0.0.1", port), "/v1/completions", body, headers=named
        ) as answer:
            yield answer.stream


class Unsignalled(Listener):
    """A listener that leaves signals alone: Ctrl-C is for the bench, and ends it at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def busy_rig(settings: ServerSettings, *, nginx: bool) -> AsyncIterator[Rig]:
    """A gateway with the engine of `settings`, without load yet."""
    artifact = ModelArtifact.load(settings.model)
    engine = load_engine(settings.engine, artifact, **_options(settings))
    async with (
        _watched(engine) as watched,
        anyio.create_task_group() as answers,
        anyio.create_task_group() as tasks,
    ):
        app = create_app(watched, settings, answers)
        gateway: Gateway = app.state.gateway
        ports = []
        listeners = []
        for outer in (app, PassThrough(app)):
            ready = anyio.Event()

            def started(port: int, ready: anyio.Event = ready) -> None:
                ports.append(port)
                ready.set()

            listener = Unsignalled(outer, gateway.reception.inflight, gateway.live, started)
            listeners.append(listener)
            tasks.start_soon(listener.listen)
            await ready.wait()
        with nginx_in_front(ports[1]) if nginx else nullcontext() as proxied:
            yield Rig(watched, gateway, ports[0], ports[1], proxied)
        for listener in listeners:
            listener.handle_exit(0, None)


@asynccontextmanager
async def _watched(
    engine: AbstractAsyncContextManager[CompletionEngine],
) -> AsyncIterator[WatchedEngine]:
    async with engine as running:
        yield WatchedEngine(running)


def _options(settings: ServerSettings) -> dict[str, object]:
    if settings.engine == "scripted":  # a pace like a small model's
        pace = {"answer": _SOURCE, "first_delay_s": 0.02, "token_delay_s": 0.005}
        return settings.engine_options() | pace
    return settings.engine_options()
