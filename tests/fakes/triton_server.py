"""A real Triton server for tests: `server.tritonserver.node`, on free ports, ended with the block.

Release 24.10 dies when gRPC streams with fast tokens are cancelled; nothing here does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server.tritonserver.environment import installed, python, unsupported
from server.tritonserver.node import Node, Ports


def missing() -> str | None:
    """Why no server can be started here, or None."""
    if reason := unsupported():
        return reason
    return None if installed() else "Triton not installed (tabwright triton install)"


def transformers_python() -> Path:
    """The interpreter that has transformers 4.57.3."""
    return python()


class TritonServer:
    """A running server; `kill` or `stop`, and `start` again, give the same ports."""

    def __init__(self, repository: Path, home: Path) -> None:
        self.node = Node(home)
        self.repository = repository
        self.ports = Ports.starting_at(0)

    @property
    def grpc_port(self) -> int:
        return self.ports.grpc

    @property
    def http_port(self) -> int:
        return self.ports.http

    def start(self) -> None:
        """Start and wait until it says that it is ready."""
        self.node.start(self.repository, self.ports)

    def kill(self) -> None:
        """End it at once, its stubs too, and sweep its shared memory."""
        self.node.kill()

    def stop(self) -> int | None:
        """End it politely; return its exit code."""
        return self.node.stop()

    def shared_memory(self) -> list[Path]:
        """What it holds in shared memory."""
        return self.node.shared_memory()

    def stub_pids(self) -> list[int]:
        """The processes that run the models."""
        return self.node.stub_pids()

    def metrics(self) -> dict[str, float]:
        """Our own metrics, summed over their labels."""
        return {f"tabwright_llm_{name}": value for name, value in self.node.gauges().items()}


@contextmanager
def triton_server(repository: Path, home: Path) -> Iterator[TritonServer]:
    """Serve the models of `repository` until the block is left; `home` is for its own files."""
    server = TritonServer(repository, home)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def ask(
    server: TritonServer, model: str, prompt: Sequence[int], count: int = 16, **more: Any
) -> tuple[list[int], str]:
    """Ids and finish reason of one request by a plain client, or what Triton says is wrong."""
    import numpy as np
    from tritonclient import grpc
    from tritonclient.utils import np_to_triton_dtype

    given = {
        "input_ids": np.array(prompt, np.int32),
        "max_tokens": np.array([count], np.int32),
        "stream": np.array([True]),
    } | more
    inputs = []
    for name, values in given.items():
        tensor = grpc.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    answers: list[Any] = []
    with grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.start_stream(lambda result, error: answers.append((result, error)))
        client.async_stream_infer(model, inputs, enable_empty_final_response=False)
        client.stop_stream()  # returns when all has been answered
    ids: list[int] = []
    finish = ""
    for result, error in answers:
        if error is not None:
            return ids, str(error)
        ids += result.as_numpy("output_ids").tolist()
        finish = result.as_numpy("finish_reason")[0].decode() or finish
    return ids, finish
