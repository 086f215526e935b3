"""What the way to Triton costs, paired in one run; print JSON.

Ways to the same exported model, one after the other in every round and in another order each time,
with the same prompts and lengths: tritonclient with a stream for each request, as its documentation
has it; tritonclient with one stream kept open, the cheapest direct call there is; our engine, which
does the latter, in this process; the whole gateway over HTTP, another process, on connections that
stay open, as gRPC's do and those of editors; the same with a new connection for each request; and
what HTTP costs without a gateway (`triton_bare`): a proxy with nothing in it, and the same client
and server when nobody asks Triton. A request's time is that of its last token: a stream of its own
is closed after that, and nobody waits. Overhead is the difference to the direct call, and to the
bare proxy, of the same round: first of requests for one token, where little but the way is
measured; then of whole answers, in which the model's own time varies by more than the way takes;
then 16 at once, for the throughput.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import replace
from typing import Any

import anyio
from tritonclient.grpc.aio import InferenceServerClient

from docs.results.triton_node import Measured, measured, summary, where
from docs.results.triton_ways import ALONE, BARE, DIRECT, Ask, Asked, Http, Work, bare, gateway
from server.engines.registry import load_engine
from server.listener import loop_options
from server.raw_client import Target

TOKENS = 24
SHORT_ROUNDS = 300  # of one request for one token at a time
ROUNDS = 60  # of one request at a time
BATCHES = 8  # of CONCURRENCY requests at a time
CONCURRENCY = 16
BOUND_S = 360
TARGET_MS, TARGET_LOSS = 1.0, 0.15
_SOURCE = open(__file__, encoding="utf-8").read()  # noqa: SIM115


def prompts(server: Measured, characters: int) -> list[list[int]]:
    """Prompts of a third as many tokens."""
    encode = server.artifact.tokenizer.encode
    return [encode(_SOURCE[start : start + characters]) for start in range(0, 3000, 37)]


def shuffled(ways: dict[str, Ask], number: int) -> list[tuple[str, Ask]]:
    """The ways in an order of this round's own: what comes next might pay for what came before."""
    return random.Random(number).sample([*ways.items()], len(ways))


async def one_at_a_time(ways: dict[str, Ask], rounds: int) -> dict[str, Any]:
    """Milliseconds of whole requests and between tokens, and the differences to direct calls."""
    whole: dict[str, list[float]] = {name: [] for name in ways}
    token: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 3):
        for name, ask in shuffled(ways, number):
            started = time.perf_counter()
            came = await ask(number)
            if number >= 3:  # the first ones warm up
                whole[name].append((came[-1] - started) * 1000)
                if len(came) > 1:
                    token[name].append((came[-1] - came[0]) * 1000 / (len(came) - 1))
    report = {"request_ms": _paired(whole)}
    return report | ({"ms_between_tokens": _paired(token)} if all(token.values()) else {})


def _paired(rows: dict[str, list[float]]) -> dict[str, Any]:
    return {name: summary(values) | _over(rows, name) for name, values in rows.items()}


def _over(rows: dict[str, list[float]], name: str) -> dict[str, Any]:
    return {
        f"over {base}": summary([a - b for a, b in zip(rows[name], rows[base], strict=True)])
        for base in _bases(name)
    }


def _bases(name: str) -> tuple[str, ...]:
    """What a way is compared with."""
    if name in (*DIRECT, ALONE):
        return ()
    return (*DIRECT, BARE) if "gateway" in name else DIRECT


async def many_at_once(ways: dict[str, Ask]) -> dict[str, Any]:
    """Tokens a second of CONCURRENCY requests at a time, and the share that is lost."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for batch in range(BATCHES + 1):
        for name, ask in shuffled(ways, batch):
            counts: list[int] = []

            async def one(number: int, ask: Ask = ask, counts: list[int] = counts) -> None:
                counts.append(len(await ask(number)))

            started = time.perf_counter()
            async with anyio.create_task_group() as group:
                for number in range(CONCURRENCY):
                    group.start_soon(one, batch * CONCURRENCY + number)
            if batch:
                rates[name].append(sum(counts) / (time.perf_counter() - started))
    return {
        name: {"tokens_per_s": summary(values)["p50"]} | _lost(rates, name)
        for name, values in rates.items()
    }


def _lost(rates: dict[str, list[float]], name: str) -> dict[str, float]:
    """The median share of a round's throughput that a way loses to the direct calls."""
    return {
        f"lost to {base}": round(
            summary([1 - a / b for a, b in zip(rates[name], rates[base], strict=True)])["p50"], 3
        )
        for base in _bases(name)
    }


async def answered(target: Target, work: Work) -> Work:
    """Those of the prompts whose answers are long: others would measure another length each way."""
    asks = [Http(target, replace(work, rows=[row]), keep=False).ask for row in work.rows]
    lengths = [len(await ask(0)) for ask in asks]
    rows = [row for row, length in zip(work.rows, lengths, strict=True) if length == work.tokens]
    assert len(rows) >= 10, "ten prompts have long answers"
    return replace(work, rows=rows)


async def measure(server: Measured) -> dict[str, Any]:
    """All ways, paired."""
    engine = load_engine(
        "triton", server.artifact, urls=(server.url,), slots=CONCURRENCY, stall_timeout_s=10.0
    )
    with anyio.fail_after(BOUND_S):
        async with (
            engine as running,
            bare(server) as floor,
            gateway(server, CONCURRENCY) as target,
            InferenceServerClient(server.url) as client,
        ):
            whole = await answered(target, Work(prompts(server, 300), TOKENS))
            short = await answered(target, Work(prompts(server, 24), 1))
            asked = Asked(server.artifact.name, client, running, floor, target)

            async with asked.ways(short) as each:
                first = await one_at_a_time(each, SHORT_ROUNDS)
            async with asked.ways(whole) as each:
                alone = await one_at_a_time(each, ROUNDS)
                together = await many_at_once(each)
    return {
        "one_token": first,
        f"{TOKENS}_tokens": alone,
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
