"""The ways to an exported model in Triton that `triton_overhead` compares."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from docs.results.triton_node import Measured
from server.raw_client import Target, send
from tabwright.engine import CompletionEngine
from tabwright.request import SamplingParams

Ask = Callable[[int], Awaitable[list[float]]]  # a request's number → when each token came
DIRECT = ("tritonclient", "tritonclient, one stream")


@dataclass(frozen=True)
class Work:
    """What is asked for: prompts, one after the other, and the length of each answer."""

    rows: list[list[int]]
    tokens: int

    def prompt(self, number: int) -> list[int]:
        """The prompt of a request."""
        return self.rows[number % len(self.rows)]


class Direct:
    """tritonclient, as its documentation shows it."""

    def __init__(self, model: str, client: InferenceServerClient, work: Work) -> None:
        """Ask for `work`."""
        self._model, self._client, self._work = model, client, work

    def inputs(self, number: int) -> list[InferInput]:
        """The tensors that the engine sends."""
        values = {
            "input_ids": np.array(self._work.prompt(number), np.int32),
            "max_tokens": np.array([self._work.tokens], np.int32),
            "stream": np.array([True]),
            "num_logprobs": np.array([1], np.int32),
        }
        kinds = {"input_ids": "INT32", "max_tokens": "INT32", "stream": "BOOL"}
        found = []
        for name, value in values.items():
            tensor = InferInput(name, list(value.shape), kinds.get(name, "INT32"))
            tensor.set_data_from_numpy(value)
            found.append(tensor)
        return found

    async def ask(self, number: int) -> list[float]:
        """A stream of its own for this request."""

        async def once() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": self._model, "inputs": self.inputs(number)}

        came: list[float] = []
        async for result, error in self._client.stream_infer(once()):
            assert error is None, error
            came += [time.perf_counter()] * len(result.as_numpy("output_ids"))
        return came


class Kept(Direct):
    """tritonclient with one stream for all requests, told apart by their ids."""

    def __init__(self, model: str, client: InferenceServerClient, work: Work) -> None:
        """Ask for `work`, while `run` runs."""
        super().__init__(model, client, work)
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](math.inf)
        self._asked: dict[str, tuple[list[float], anyio.Event]] = {}

    async def _requests(self) -> AsyncIterator[dict[str, Any]]:
        async for request in self._receive:
            yield request

    async def run(self) -> None:
        """Hand out what comes."""
        async for result, error in self._client.stream_infer(self._requests()):
            assert error is None, error
            came, ended = self._asked[result.get_response().id]
            came += [time.perf_counter()] * len(result.as_numpy("output_ids"))
            if result.as_numpy("finish_reason")[0]:
                ended.set()

    async def ask(self, number: int) -> list[float]:
        """One request on the common stream."""
        name = str(len(self._asked))
        came, ended = self._asked[name] = ([], anyio.Event())
        request = {"model_name": self._model, "inputs": self.inputs(number), "request_id": name}
        self._send.send_nowait(request)
        await ended.wait()
        return came

    def close(self) -> None:
        """End the stream."""
        self._send.close()


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


@dataclass
class Http:
    """The gateway, over OpenAI's protocol."""

    target: Target
    work: Work

    async def ask(self, number: int) -> list[float]:
        """One request; a token may be no text yet, so the last part counts as the last token."""
        body = {
            "prompt": self.work.prompt(number),
            "max_tokens": self.work.tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with send(self.target, "/v1/completions", body) as answer:
            said = await answer.rest()
            assert answer.status == 200, said[-300:]
            usage = re.findall(rb'"completion_tokens":\s*(\d+)', said)
            assert usage, said[-300:]
            first, last, count = answer.arrivals_s[0], answer.arrivals_s[-1], int(usage[-1])
            step = (last - first) / max(1, count - 1)
            return [first + step * place for place in range(count)]


@asynccontextmanager
async def gateway(server: Measured, slots: int) -> AsyncIterator[Target]:
    """`tabwright serve` in front of the server, with raw answers."""
    command = [
        *(sys.executable, "-m", "tabwright", "serve", "--engine", "triton", "--port", "0"),
        *("--triton-url", server.url, "--max-running", str(slots), "--postprocess", "off"),
        *("--model", str(server.artifact.path), "--log-level", "warning", "--typeahead-mb", "0"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
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
    """All that can be asked for one model: by tritonclient, by our engine, by the gateway."""

    model: str
    client: InferenceServerClient
    engine: CompletionEngine
    target: Target

    @asynccontextmanager
    async def ways(self, work: Work) -> AsyncIterator[dict[str, Ask]]:
        """The ways by their names, direct ones first, for the length of the block."""
        kept = Kept(self.model, self.client, work)
        async with anyio.create_task_group() as group:
            group.start_soon(kept.run)
            yield {
                DIRECT[0]: Direct(self.model, self.client, work).ask,
                DIRECT[1]: kept.ask,
                "engine": Through(self.engine, work).ask,
                "gateway": Http(self.target, work).ask,
            }
            kept.close()
