"""The least that HTTP in front of Triton costs in Python: a proxy without a gateway, until killed.

uvicorn with uvloop and httptools, one function as the application, tritonclient with one stream
that stays open: no keys, no limits, no line, no tokenizer, nobody who watches the connection,
nothing counted. What `triton_overhead` finds the gateway to cost beyond it is the gateway's own.

    python -m docs.results.triton_bare 127.0.0.1:8001 tabwright-7m
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

import anyio
import uvicorn
from starlette.types import Receive, Scope, Send
from tritonclient.grpc.aio import InferenceServerClient

from docs.results.triton_ways import FIXED, OneStream, tensors
from server.listener import loop_options

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
_TOKEN = b'data: {"choices":[{"index":0,"text":"%d","finish_reason":null}]}\n\n'
_END = b'data: {"choices":[],"usage":{"completion_tokens":%d}}\n\ndata: [DONE]\n\n'


class Proxy:
    """The application."""

    def __init__(self, stream: OneStream) -> None:
        """Ask over `stream`."""
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one completion, token by token."""
        raw, more = b"", True
        while more:
            message = await receive()
            raw, more = raw + message["body"], message["more_body"]
        body = json.loads(raw)
        if scope["path"].startswith(FIXED):
            await send(_START)
            await send(_part(_TOKEN % 0))
            await send(_part(_END % 1) | {"more_body": False})
            return
        heard: list[Any] = []
        news = anyio.Event()

        def hear(result: Any) -> None:
            heard.append(result)
            news.set()

        self._stream.begin(tensors(body["prompt"], body["max_tokens"]), hear)
        count, over = 0, False
        while not over:
            await news.wait()
            news = anyio.Event()
            new, heard[:] = heard[:], []
            for result in new:
                if not count:
                    await send(_START)
                for token in result.as_numpy("output_ids"):
                    count += 1
                    await send(_part(_TOKEN % token))
                over = bool(result.as_numpy("finish_reason")[0])
        await send(_part(_END % count) | {"more_body": False})


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def serve(url: str, model: str) -> None:
    """Answer until killed."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with InferenceServerClient(url) as client, anyio.create_task_group() as group:
        stream = OneStream(model, client)
        group.start_soon(stream.run)
        config = uvicorn.Config(
            Proxy(stream), http="httptools", ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, timeout_keep_alive=600,
        )  # fmt: skip
        print(f"at http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        await uvicorn.Server(config).serve([listening])
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(serve, *sys.argv[1:], backend_options=loop_options())
