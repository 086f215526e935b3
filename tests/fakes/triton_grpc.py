"""Triton's gRPC as a fake: it tells a config, streams ids 1, 2, 3 …, and can hang, die or vanish.

For what a real server does only when something is badly wrong. `tests/integration/test_triton.py`
asks the real one.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tabwright.artifact import ModelArtifact
from tabwright.tensors import ARTIFACT_DIGEST, MAX_ACTIVE, MAX_CONTEXT, REFUSES


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """One server. mode: ok; silent, it takes all and answers nothing; dead, it answers errors;
    mute, only generations are silent."""

    def __init__(self, artifact: ModelArtifact, *, port: int = 0, token_s: float = 0.002) -> None:
        self.mode = "ok"
        self.port = port
        self.asked = 0
        self.refuses = ""
        self.max_active = 64
        self.running: dict[str, anyio.Event] = {}
        self._token_s = token_s
        self._artifact = artifact
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def vanish(self) -> None:
        await self._server.stop(None)
        self.running.clear()

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        answer = service_pb2.ModelConfigResponse()
        told = {
            ARTIFACT_DIGEST: self._artifact.digest,
            MAX_CONTEXT: str(self._artifact.max_context),
            MAX_ACTIVE: str(self.max_active),
            REFUSES: self.refuses,
        }
        for name, value in told.items():
            answer.config.parameters[name].string_value = value
        return answer

    async def ModelStreamInfer(self, requests: Any, context: Any) -> None:
        alone = anyio.Lock()

        async def tell(answer: Any) -> None:
            async with alone:
                await context.write(answer)

        async with anyio.create_task_group() as group:
            async for request in requests:
                if self.mode != "silent":
                    group.start_soon(self._answer, request, tell)

    async def _answer(self, request: Any, tell: Callable[[Any], Awaitable[None]]) -> None:
        values = {t.name: raw for t, raw in zip(request.inputs, request.raw_input_contents)}  # noqa: B905
        if self.mode == "dead":
            answer = service_pb2.ModelStreamInferResponse(error_message="Stub is not healthy")
            answer.infer_response.id = request.id
            return await tell(answer)
        if "stop" in values:
            if request.id in self.running:
                self.running[request.id].set()
            return await tell(_response(request.id, [], "stopped"))
        self.asked += 1
        if self.mode == "mute":
            return None
        [count] = array("i", values["max_tokens"])
        stopped = self.running[request.id] = anyio.Event()
        for number in range(1, count + 1):
            with anyio.move_on_after(self._token_s):
                await stopped.wait()
            if stopped.is_set() or self.mode != "ok":
                break
            await tell(_response(request.id, [number], "length" * (number == count)))
        else:
            self.running.pop(request.id, None)
            return None
        self.running.pop(request.id, None)
        if self.mode == "ok":
            await tell(_response(request.id, [], "cancelled"))
        return None


@asynccontextmanager
async def fake_tritons(count: int, artifact: ModelArtifact) -> AsyncIterator[list[FakeTriton]]:
    """Run so many of them for the length of the block."""
    servers = [FakeTriton(artifact) for _ in range(count)]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.vanish()


def _response(request: str, ids: list[int], finish: str) -> Any:
    answer = service_pb2.ModelStreamInferResponse()
    told = answer.infer_response
    told.id = request
    named = finish.encode()
    rows = {
        "output_ids": array("i", ids).tobytes(),
        "log_probs": array("f", [-0.5] * len(ids)).tobytes(),
        "finish_reason": len(named).to_bytes(4, "little") + named,
    }
    for name, raw in rows.items():
        told.outputs.add().name = name
        told.raw_output_contents.append(raw)
    return answer
