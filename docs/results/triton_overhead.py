"""What the way to Triton costs, paired in one run; print JSON.

Three ways to the same exported model, one after the other in every round, with the same prompts and
lengths: tritonclient with a stream for each request, as its documentation has it; our engine, which
keeps one stream open for all, in this process; and the whole gateway over HTTP, a process of its
own. Overhead is the difference to the direct call of the same round. First concurrency 1, for the
time of a request and of a token, then 16, for the throughput.
"""

from __future__ import annotations

import json
import os
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

from docs.results.triton_node import Measured, measured, summary, where
from server.engines.registry import load_engine
from server.listener import loop_options
from server.raw_client import Target, send
from tabwright.engine import CompletionEngine
from tabwright.request import SamplingParams

TOKENS = 24
ROUNDS = 60  # of one request at a time
BATCHES = 8  # of CONCURRENCY requests at a time
CONCURRENCY = 16
BOUND_S = 150
TARGET_MS, TARGET_LOSS = 1.0, 0.15
_SOURCE = open(__file__, encoding="utf-8").read()  # noqa: SIM115

Ask = Callable[[int], Awaitable[list[float]]]  # a request's number → when each token came


def prompts(server: Measured) -> list[list[int]]:
    """Prompts of about a hundred tokens whose greedy answers go on for TOKENS tokens."""
    encode = server.artifact.tokenizer.encode
    return [encode(_SOURCE[start : start + 300]) for start in range(0, 3000, 37)]


class Direct:
    """tritonclient, as its documentation shows it."""

    def __init__(self, server: Measured, client: InferenceServerClient, rows: Any) -> None:
        """Ask `server`."""
        self._model, self._client, self._rows = server.artifact.name, client, rows

    def inputs(self, number: int) -> list[InferInput]:
        """The tensors that the engine sends."""
        prompt = self._rows[number % len(self._rows)]
        values = {
            "input_ids": np.array(prompt, np.int32),
            "max_tokens": np.array([TOKENS], np.int32),
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


@dataclass
class Through:
    """Our engine in this process."""

    engine: CompletionEngine
    rows: list[list[int]]

    async def ask(self, number: int) -> list[float]:
        """One request."""
        prompt = self.rows[number % len(self.rows)]
        came: list[float] = []
        async with self.engine.stream(prompt, SamplingParams(max_tokens=TOKENS)) as pieces:
            async for piece in pieces:
                came += [time.perf_counter()] * len(piece.ids)
        return came


@dataclass
class Http:
    """The gateway, over OpenAI's protocol."""

    target: Target
    rows: list[list[int]]

    async def ask(self, number: int) -> list[float]:
        """One request; a token may be no text yet, so the last part counts as the last token."""
        body = {
            "prompt": self.rows[number % len(self.rows)],
            "max_tokens": TOKENS,
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
async def gateway(server: Measured) -> AsyncIterator[Target]:
    """`tabwright serve` in front of the server, with raw answers."""
    command = [
        *(sys.executable, "-m", "tabwright", "serve", "--engine", "triton", "--port", "0"),
        *("--triton-url", server.url, "--max-running", str(CONCURRENCY), "--postprocess", "off"),
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


async def one_at_a_time(ways: dict[str, Ask]) -> dict[str, Any]:
    """Milliseconds of whole requests and between tokens, and the differences to the first way."""
    whole: dict[str, list[float]] = {name: [] for name in ways}
    token: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 3):
        for name, ask in ways.items():
            started = time.perf_counter()
            came = await ask(number)
            if number >= 3:  # the first ones warm up
                whole[name].append((time.perf_counter() - started) * 1000)
                token[name].append((came[-1] - started) * 1000 / len(came))
    return {"request_ms": _paired(whole), "ms_per_token": _paired(token)}


def _paired(rows: dict[str, list[float]]) -> dict[str, Any]:
    direct = next(iter(rows.values()))
    return {
        name: summary(values)
        | {"overhead": summary([a - b for a, b in zip(values, direct, strict=True)])}
        for name, values in rows.items()
    }


async def many_at_once(ways: dict[str, Ask]) -> dict[str, Any]:
    """Tokens a second of CONCURRENCY requests at a time, and the share that is lost."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for batch in range(BATCHES + 1):
        for name, ask in ways.items():
            counts: list[int] = []

            async def one(number: int, ask: Ask = ask, counts: list[int] = counts) -> None:
                counts.append(len(await ask(number)))

            started = time.perf_counter()
            async with anyio.create_task_group() as group:
                for number in range(CONCURRENCY):
                    group.start_soon(one, batch * CONCURRENCY + number)
            if batch:
                rates[name].append(sum(counts) / (time.perf_counter() - started))
    direct = next(iter(rates.values()))
    return {
        name: {
            "tokens_per_s": summary(values)["p50"],
            "lost": round(
                summary([1 - a / b for a, b in zip(values, direct, strict=True)])["p50"], 3
            ),
        }
        for name, values in rates.items()
    }


async def measure(server: Measured) -> dict[str, Any]:
    """All ways, paired."""
    rows = prompts(server)
    engine = load_engine(
        "triton", server.artifact, urls=(server.url,), slots=CONCURRENCY, stall_timeout_s=10.0
    )
    with anyio.fail_after(BOUND_S):
        async with (
            engine as running,
            gateway(server) as target,
            InferenceServerClient(server.url) as client,
        ):
            # An answer that ends early would measure another length each way.
            rows = [row for row in rows if len(await Http(target, [row]).ask(0)) == TOKENS]
            assert len(rows) >= 10, "ten prompts have long answers"
            ways: dict[str, Ask] = {
                "tritonclient": Direct(server, client, rows).ask,
                "engine": Through(running, rows).ask,
                "gateway": Http(target, rows).ask,
            }
            alone = await one_at_a_time(ways)
            together = await many_at_once(ways)
    return {
        "tokens": TOKENS,
        "one_at_a_time": alone,
        f"{CONCURRENCY}_at_once": together,
        "target": {"overhead_ms_p50": TARGET_MS, "lost": TARGET_LOSS},
    }


def main() -> None:
    """Measure and print."""
    os.environ.setdefault("NO_PROXY", "127.0.0.1")
    with measured() as server:
        told = anyio.run(measure, server, backend_options=loop_options())
    print(json.dumps(where() | told, indent=2))


if __name__ == "__main__":
    main()
