"""The ways to an exported model in Triton that `triton_overhead` compares."""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio
import httptools
import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from docs.results.triton_node import Measured
from server.raw_client import Target
from tabwright.engine import CompletionEngine
from tabwright.request import SamplingParams

Ask = Callable[[int], Awaitable[list[float]]]  # a request's number → when each token came
DIRECT = ("tritonclient", "tritonclient, one stream")
BARE = "bare HTTP proxy"
ALONE = "HTTP alone"  # the same, answered without asking Triton
FIXED = "/fixed"


@dataclass(frozen=True)
class Work:
    """What is asked for: prompts, one after the other, and the length of each answer."""

    rows: list[list[int]]
    tokens: int

    def prompt(self, number: int) -> list[int]:
        """The prompt of a request."""
        return self.rows[number % len(self.rows)]


def tensors(prompt: list[int], tokens: int) -> list[InferInput]:
    """The tensors that the engine sends."""
    values = {
        "input_ids": np.array(prompt, np.int32),
        "max_tokens": np.array([tokens], np.int32),
        "stream": np.array([True]),
        "num_logprobs": np.array([1], np.int32),
    }
    found = []
    for name, value in values.items():
        tensor = InferInput(name, list(value.shape), "BOOL" if name == "stream" else "INT32")
        tensor.set_data_from_numpy(value)
        found.append(tensor)
    return found


class Direct:
    """tritonclient, as its documentation shows it."""

    def __init__(self, model: str, client: InferenceServerClient, work: Work) -> None:
        """Ask for `work`."""
        self._model, self._client, self._work = model, client, work

    def inputs(self, number: int) -> list[InferInput]:
        """The tensors of a request."""
        return tensors(self._work.prompt(number), self._work.tokens)

    async def ask(self, number: int) -> list[float]:
        """A stream of its own for this request."""

        async def once() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": self._model, "inputs": self.inputs(number)}

        came: list[float] = []
        async for result, error in self._client.stream_infer(once()):
            assert error is None, error
            came += [time.perf_counter()] * len(result.as_numpy("output_ids"))
        return came


class OneStream:
    """tritonclient with one stream for all requests, told apart by their ids."""

    def __init__(self, model: str, client: InferenceServerClient) -> None:
        """Ask for nothing yet; answers come while `run` runs."""
        self._model, self._client = model, client
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](math.inf)
        self._hear: dict[str, Callable[[Any], None]] = {}

    async def _requests(self) -> AsyncIterator[dict[str, Any]]:
        async for request in self._receive:
            yield request

    async def run(self) -> None:
        """Hand out what comes."""
        async for result, error in self._client.stream_infer(self._requests()):
            assert error is None, error
            self._hear[result.get_response().id](result)

    def begin(self, inputs: list[InferInput], hear: Callable[[Any], None]) -> None:
        """Send one request; `hear` is called with each response."""
        name = str(len(self._hear))
        self._hear[name] = hear
        self._send.send_nowait({"model_name": self._model, "inputs": inputs, "request_id": name})

    def close(self) -> None:
        """End the stream."""
        self._send.close()


@dataclass
class Kept:
    """A common stream, which stays open."""

    stream: OneStream
    work: Work

    async def ask(self, number: int) -> list[float]:
        """One request."""
        came: list[float] = []
        ended = anyio.Event()

        def hear(result: Any) -> None:
            came.extend([time.perf_counter()] * len(result.as_numpy("output_ids")))
            if result.as_numpy("finish_reason")[0]:
                ended.set()

        self.stream.begin(tensors(self.work.prompt(number), self.work.tokens), hear)
        await ended.wait()
        return came


@dataclass
class Through:
    """Our engine in this process."""

    engine: CompletionEngine
    work: Work

    async def ask(self, number: int) -> list[float]:
        """One request."""
        came: list[float] = []
        sampling = SamplingParams(max_tokens=self.work.tokens)
        async with self.engine.stream(self.work.prompt(number), sampling) as pieces:
            async for piece in pieces:
                came += [time.perf_counter()] * len(piece.ids)
        return came


class Connection(asyncio.Protocol):
    """The least of an HTTP client: anyio's, with which tests ask, takes 0.3 ms for itself."""

    def __init__(self) -> None:
        """Wait for a connection."""
        self.arrivals_s: list[float] = []
        self.body = b""
        self.status = 0
        self._ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Look at a part of the answer."""
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail who waits."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error or ConnectionError("closed in mid-answer"))

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer."""
        self._parser = httptools.HttpResponseParser(self)
        self.arrivals_s, self.body = [], b""
        self._ended = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self._ended
        return self.body

    def on_body(self, data: bytes) -> None:
        """Note a part of the body."""
        self.arrivals_s.append(time.perf_counter())
        self.body += data

    def on_message_complete(self) -> None:
        """Note the end."""
        self.status = self._parser.get_status_code()
        assert self._ended is not None
        self._ended.set_result(None)


class Http:
    """A server of OpenAI's protocol, over a new connection for each request, or kept ones."""

    def __init__(self, target: Target, work: Work, *, keep: bool) -> None:
        """Ask `target` for `work`."""
        self._target, self._work, self._keep = target, work, keep
        self._idle: list[Connection] = []

    async def ask(self, number: int) -> list[float]:
        """One request; a token may be no text yet, so the last part counts as the last token."""
        body = {
            "prompt": self._work.prompt(number),
            "max_tokens": self._work.tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        connection = self._idle.pop() if self._idle else await self._connect()
        said = await connection.ask(self._target.request("POST", "/v1/completions", body, {}))
        assert connection.status == 200, said[-300:]
        if self._keep:
            self._idle.append(connection)
        else:
            connection.transport.abort()
        usage = re.findall(rb'"completion_tokens":\s*(\d+)', said)
        assert usage, said[-300:]
        arrivals, count = connection.arrivals_s, int(usage[-1])
        step = (arrivals[-1] - arrivals[0]) / max(1, count - 1)
        return [arrivals[0] + step * place for place in range(count)]

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self._target.host, self._target.port))[1]

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.transport.abort()


@asynccontextmanager
async def gateway(server: Measured, slots: int) -> AsyncIterator[Target]:
    """`tabwright serve` in front of the server, with raw answers."""
    command = [
        *("tabwright", "serve", "--engine", "triton", "--port", "0"),
        *("--triton-url", server.url, "--max-running", str(slots), "--postprocess", "off"),
        *("--model", str(server.artifact.path), "--log-level", "warning", "--typeahead-mb", "0"),
    ]
    async with _listening(command) as target:
        yield target


@asynccontextmanager
async def bare(server: Measured) -> AsyncIterator[Target]:
    """HTTP in front of the server, without a gateway."""
    async with _listening(["docs.results.triton_bare", server.url, server.artifact.name]) as target:
        yield target


@asynccontextmanager
async def _listening(command: list[str]) -> AsyncIterator[Target]:
    """Run a module until the end of the block; it says where it listens."""
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"at (http://\S+)", line):
                yield Target.parse(found[1])
                break
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True)
class Asked:
    """All that can be asked for one model."""

    model: str
    client: InferenceServerClient
    engine: CompletionEngine
    bare: Target
    gateway: Target

    @asynccontextmanager
    async def ways(self, work: Work) -> AsyncIterator[dict[str, Ask]]:
        """The ways by their names, direct ones first, for the length of the block."""
        kept = OneStream(self.model, self.client)
        http = {
            BARE: Http(self.bare, work, keep=True),
            "gateway": Http(self.gateway, work, keep=True),
        }
        if work.tokens == 1:  # in whole answers neither would be seen
            http["gateway, new connections"] = Http(self.gateway, work, keep=False)
            http[ALONE] = Http(replace(self.bare, prefix=FIXED), work, keep=True)
        async with anyio.create_task_group() as group:
            group.start_soon(kept.run)
            yield {
                DIRECT[0]: Direct(self.model, self.client, work).ask,
                DIRECT[1]: Kept(kept, work).ask,
                "engine": Through(self.engine, work).ask,
                **{name: way.ask for name, way in http.items()},
            }
            for way in http.values():
                way.close()
            kept.close()
