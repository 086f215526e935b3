"""A real gateway on a real socket: uvicorn in a thread, and raw clients that can leave any time."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from fastapi import FastAPI
from starlette.types import ASGIApp

from server.app import create_app
from server.engines.registry import load_engine
from server.gateway import Gateway
from server.listener import Listener, loop_options
from server.settings import ServerSettings
from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine

PATIENCE_S = 20.0  # the machine may be busy; how fast it really is, `server.cancel_bench` measures


@dataclass
class LiveGateway:
    """A running gateway, seen from outside (`port`) and from inside."""

    port: int
    app: FastAPI
    engine: CompletionEngine
    listener: Listener
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> Gateway:
        gateway: Gateway = self.app.state.gateway
        return gateway

    def held(self) -> int:
        """Everything a running request holds, wherever it is."""
        stats = self.engine.stats()
        admission = self.gateway.completer.admission
        inside = len(self.gateway.reception.inflight) + admission.running + admission.waiting
        return inside + stats.running + stats.waiting + stats.kv_blocks_used

    def wait(self, condition: Callable[[], object], what: str) -> float:
        """Seconds until `condition`; fails loudly when it does not come."""
        start = time.perf_counter()
        while not condition():
            assert time.perf_counter() - start < PATIENCE_S, f"{what}: did not happen"
            time.sleep(0.002)
        return time.perf_counter() - start

    def wait_free(self) -> float:
        return self.wait(lambda: self.held() == 0, "nothing held")

    def counted(self, name: str, **labels: str) -> float:
        """The sum over the labels that are not given."""
        samples = [
            sample
            for family in self.gateway.reception.metrics.registry.collect()
            for sample in family.samples
        ]
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )

    def cancels(self, reason: str) -> float:
        return self.counted("tabwright_cancels_total", reason=reason)

    def wasted(self, reason: str) -> float:
        return self.counted("tabwright_wasted_tokens_total", reason=reason)


@contextmanager
def live_gateway(
    artifact: ModelArtifact,
    engine: str = "scripted",
    *,
    options: Mapping[str, object] | None = None,
    others: Mapping[str, Mapping[str, object]] | None = None,
    wrap: Callable[[ASGIApp], ASGIApp] | None = None,
    **settings: Any,
) -> Iterator[LiveGateway]:
    """Serve `artifact` for the length of the block. others: options of scripted engines of further
    models, by name. `wrap` puts a middleware around the app.

    What the scripted engine recites fits no cursor, so it comes raw unless a test asks otherwise.
    """
    started = threading.Event()
    box: dict[str, Any] = {}
    raw = {"postprocess": "off"} if engine == "scripted" else {}
    chosen = ServerSettings.model_validate({"port": 0, "engine": engine} | raw | settings)

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            given = chosen.engine_options() | dict(options or {})
            running = await stack.enter_async_context(load_engine(engine, artifact, **given))
            further = await _scripted(stack, artifact, others or {})
            tasks = await stack.enter_async_context(anyio.create_task_group())
            app = create_app(running, chosen, tasks, others=further)
            inflight = app.state.gateway.reception.inflight
            outer: Any = wrap(app) if wrap else app

            def ready(port: int) -> None:
                box["live"] = LiveGateway(port, app, running, listener)
                started.set()

            listener = Listener(outer, inflight, app.state.gateway.live, ready)
            await listener.listen()
            tasks.cancel_scope.cancel()

    def run() -> None:
        try:
            anyio.run(serve, backend_options=loop_options())
        except BaseException as error:  # noqa: BLE001  (a thread boundary)
            box["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=run, name="live-gateway")
    thread.start()
    started.wait(120)
    try:
        if "error" in box:
            raise box["error"]
        yield box["live"]
    finally:
        if "live" in box:
            box["live"].listener.handle_exit(2, None)
        thread.join(60)
        assert not thread.is_alive(), "the gateway did not stop"
    if "error" in box:
        raise box["error"]


async def _scripted(
    stack: AsyncExitStack, artifact: ModelArtifact, wanted: Mapping[str, Mapping[str, object]]
) -> Mapping[str, CompletionEngine]:
    return {
        name: await stack.enter_async_context(load_engine("scripted", artifact, **options))
        for name, options in wanted.items()
    }


class RawClient:
    """One HTTP/1.1 request on a plain socket; closing it is how an editor abandons a request."""

    def __init__(
        self, port: int, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **(headers or {}),
        }
        lines = "".join(f"{k}: {v}\r\n" for k, v in head.items())
        self.socket.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + raw)
        self.received = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def read_until(self, pattern: bytes) -> bytes:
        """Read until `pattern` (a regular expression) has been received."""
        while not re.search(pattern, self.received, re.DOTALL):
            data = self.socket.recv(65536)
            assert data, f"the connection ended before {pattern!r}: {self.received!r}"
            self.received += data
        return self.received

    def read_answer(self) -> tuple[int, Any]:
        """Status and JSON body of an answer with a content length."""
        head, _, rest = self.read_until(rb"\r\n\r\n").partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower()).group(1))  # type: ignore[union-attr]
        while len(rest) < length:
            rest += self.socket.recv(65536)
        return int(head.split(b" ")[1]), json.loads(rest)

    def events(self) -> list[Any]:
        """The JSON objects of all server-sent events received so far."""
        lines = re.findall(rb"data: (\{.*?\})\n\n", self.received)
        return [json.loads(line) for line in lines]


complete = partial(RawClient, path="/v1/completions")
