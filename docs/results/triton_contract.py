"""Hold the gateway's engine to transformers, and break a real Triton under it; print JSON.

Greedy ids of 50 prompts, from transformers on the very checkpoint that Triton serves, are compared
with what comes streamed, in one response, and from 64 requests at once. Then the server and the
model's process are killed and stopped in mid-stream. Exit code 1 where ids differ or a limit does
not hold. What else an engine owes: `pytest tests/contracts/test_engines.py -k triton`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio

from docs.results.triton_node import Measured, measured, where
from server.engines.registry import load_engine
from server.engines.triton_wire import ask, read
from tabwright.engine import CompletionEngine
from tabwright.errors import EngineFailed, EngineOverloaded, EngineUnavailable
from tabwright.request import SamplingParams

PROMPTS, TOKENS, AT_ONCE = 50, 32, 64
LIMIT_S = 2.0
BOUND_S = 500  # a busy machine may need it; an idle one takes a fifth
_GREEDY = SamplingParams(max_tokens=TOKENS)
_ROOT = Path(__file__).parents[2]


def prompts(server: Measured) -> list[list[int]]:
    """Pieces of this repository's code, of many lengths."""
    text = "".join(file.read_text("utf-8") for file in sorted((_ROOT / "tabwright").glob("*.py")))
    pieces = [text[i * 700 : i * 700 + 40 + 23 * i] for i in range(PROMPTS)]
    assert len(text) > 700 * PROMPTS + 40, "every prompt has text"
    return [server.artifact.tokenizer.encode(piece) for piece in pieces]


def reference(server: Measured, rows: list[list[int]]) -> list[list[int]]:
    """What transformers says, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(server.artifact.path, dtype=torch.float32)
    model.eval()
    model.generation_config.eos_token_id = None
    found = []
    for row in rows:
        ids = torch.tensor([row])
        told = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS,
            do_sample=False,
            pad_token_id=0,
        )
        found.append(told[0, len(row) :].tolist())
    return found


async def ids_of(engine: CompletionEngine, row: list[int], count: int = TOKENS) -> list[int]:
    """One streamed answer."""
    async with engine.stream(row, SamplingParams(max_tokens=count)) as pieces:
        return [i async for piece in pieces for i in piece.ids]


async def whole_answers(server: Measured, rows: list[list[int]]) -> list[list[int]]:
    """Answers in one response each: the same message without `stream`."""
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    found = []
    async with grpc.aio.insecure_channel(server.url) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer()
        for number, row in enumerate(rows):
            message = ask(server.artifact.name, f"whole-{number}", row, _GREEDY, TOKENS)
            place = [tensor.name for tensor in message.inputs].index("stream")
            message.raw_input_contents[place] = b"\0"
            await call.write(message)
            heard = read(await call.read())
            assert heard.final, "one response is all of it"
            found.append(list(heard.ids))
        await call.done_writing()
    return found


async def same_ids(server: Measured, rows: list[list[int]], told: Any) -> dict[str, Any]:
    """How many of the answers are those of transformers, asked in three ways."""
    wide = load_engine(
        "triton", server.artifact, urls=(server.url,), slots=AT_ONCE, waiting=8, stall_timeout_s=20
    )
    together: dict[int, bool] = {}

    async with wide as engine:
        streamed = [await ids_of(engine, row) == ids for row, ids in zip(rows, told, strict=True)]

        async def one(number: int) -> None:
            row, ids = rows[number % PROMPTS], told[number % PROMPTS]
            together[number] = await ids_of(engine, row) == ids

        refused = 0
        async with anyio.create_task_group() as group:
            for number in range(AT_ONCE + 8):
                group.start_soon(one, number)
            await anyio.sleep(0.05)
            try:
                await ids_of(engine, rows[0])
            except EngineOverloaded:
                refused = 1
    whole = await whole_answers(server, rows)
    return {
        "prompts": PROMPTS,
        "tokens": TOKENS,
        "streamed_same": sum(streamed),
        "whole_same": sum(a == b for a, b in zip(whole, told, strict=True)),
        "64_running_8_waiting_same": sum(together.values()),
        "one_more_refused": refused == 1,
    }


async def broken(server: Measured, row: list[int], how: str) -> dict[str, Any]:
    """Break it in mid-stream; when is who runs told, and who comes; when does it answer again?"""
    engine = load_engine("triton", server.artifact, urls=(server.url,))
    async with engine as running:
        async with running.stream(row, SamplingParams(max_tokens=800)) as pieces:
            async for _ in pieces:
                break
            pid, sign = _victim(server, how)
            os.kill(pid, sign)
            begun = time.perf_counter()
            try:
                async for _ in pieces:
                    pass
                raise AssertionError("an answer came to its end without its model")
            except EngineFailed:
                told_s = time.perf_counter() - begun
        try:
            await ids_of(running, row, 4)
            raise AssertionError("an answer came from nowhere")
        except EngineUnavailable:
            refused_s = time.perf_counter() - begun
        ready = server.node.ready(server.told)
        server.node.kill()
        await anyio.to_thread.run_sync(server.start)
        begun = time.perf_counter()
        while True:
            try:
                await ids_of(running, row, 4)
                break
            except EngineUnavailable:
                await anyio.sleep(0.01)
        again_s = time.perf_counter() - begun
    return {
        "who_runs_told_s": round(told_s, 3),
        "who_comes_refused_s": round(refused_s, 3),
        "triton_said_ready": ready,
        "answers_after_restart_s": round(again_s, 3),
        "within_limit": refused_s <= LIMIT_S,
    }


def _victim(server: Measured, how: str) -> tuple[int, int]:
    if how == "server killed":
        return server.told.pid, signal.SIGKILL
    stub = server.node.stub_pids()[0]
    return stub, signal.SIGKILL if how == "model killed" else signal.SIGSTOP


async def measure(server: Measured) -> dict[str, Any]:
    """Everything."""
    rows = prompts(server)
    with anyio.fail_after(BOUND_S):
        report: dict[str, Any] = {"ids": await same_ids(server, rows, reference(server, rows))}
        for how in ("server killed", "model killed", "model stopped"):
            report[how] = await broken(server, rows[3], how)
    return report


def main() -> int:
    """Measure and print."""
    with measured() as server:
        report = anyio.run(measure, server)
    print(json.dumps({**where(), "limit_s": LIMIT_S, **report}, indent=2))
    ids = report.pop("ids")
    same = ids["streamed_same"] == ids["whole_same"] == PROMPTS
    same = same and ids["64_running_8_waiting_same"] == AT_ONCE + 8 and ids["one_more_refused"]
    return 0 if same and all(row["within_limit"] for row in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
