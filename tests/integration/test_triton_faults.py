"""An exported folder in a real Triton when things go wrong: in the LLM, with a client, at the end.

Asked by plain clients. The server is started as Triton starts by itself, completing descriptions;
everywhere else it is told not to. The tests stand in the order in which they break it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import numpy as np
import pytest

from server.tritonserver import node
from tabwright.artifact import ModelArtifact
from tabwright.request import SamplingParams
from tests.fakes.triton_server import TritonServer, ask, triton_server
from training.export.tensorrt_llm import export_model

pytestmark = [pytest.mark.anyio, pytest.mark.needs("triton")]
PATIENCE_S = 60.0  # the machine may be busy
PROMPT = [5, 6, 7]
LONG = 800
FAILING_LLM = """
from local_llm import *
from local_llm import LLM as Whole, __version__


class LLM(Whole):
    def generate_async(self, **given):
        generation = super().generate_async(**given)
        if given["inputs"][0] != 13:
            return generation
        step, left = generation._step, [0, 1, 2]

        def failing(new):
            if not left:
                raise RuntimeError("a planted fault")
            left.pop()
            return step(new)

        generation._step = failing
        return generation
"""


@pytest.fixture(scope="module")
def server(tiny: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One whose LLM fails in mid-stream after a prompt of its own."""
    folder = tmp_path_factory.mktemp("faults")
    export_model(tiny.path, folder / "export", to="local_llm", name="whole", validate=False)
    models = folder / "export" / "model_repository"
    code = models / "whole" / "1"
    text = (code / "model.yaml").read_text("utf-8")
    assert 'runtime: "local_llm"' in text
    text = text.replace('runtime: "local_llm"', 'runtime: "failing_llm"')
    (code / "model.yaml").write_text(text, "utf-8")
    (code / "failing_llm.py").write_text(FAILING_LLM)
    told = node._command

    def completing(*given: object) -> list[str]:
        words = told(*given)  # type: ignore[arg-type]
        words.remove("--disable-auto-complete-config")
        return words

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "_command", completing)
        with triton_server(models, folder / "home") as server:
            yield server


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110, a server's metrics have no bell
            await anyio.sleep(0.02)


def test_an_llm_that_fails_in_mid_stream_is_told_each_time(server: TritonServer) -> None:
    for _ in range(2):
        ids, said = ask(server, "whole", [13, *PROMPT])
        assert len(ids) == 3
        assert said.endswith("failed: RuntimeError: a planted fault")
    assert ask(server, "whole", PROMPT, 5)[1] == "length"


def test_what_is_wrong_with_a_request_is_said_and_the_model_goes_on(
    server: TritonServer,
) -> None:
    assert "exceed the context of 1024" in ask(server, "whole", PROMPT, 1022)[1]
    assert "token ids run from 0" in ask(server, "whole", [10**6])[1]
    wrong = np.array([1.5], np.float32)
    assert "data-type" in ask(server, "whole", PROMPT, max_tokens=wrong)[1]
    assert "unexpected inference input" in ask(server, "whole", PROMPT, top_kk=wrong)[1]
    assert ask(server, "whole", PROMPT)[1] == "length"


@pytest.mark.parametrize("way", ["its stream is cancelled", "its connection is closed"])
async def test_a_client_that_leaves_over_grpc_frees_the_model(
    server: TritonServer, way: str
) -> None:
    """Once, with nobody else: many of them at a time may kill 24.10."""
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    from server.engines.triton_wire import ask as message

    aborts = server.metrics().get("tabwright_llm_aborts_total", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer()
        await call.write(message("whole", "left", PROMPT, SamplingParams(), LONG))
        await call.read()
        if way == "its stream is cancelled":
            call.cancel()
            await until(lambda: server.metrics()["tabwright_llm_aborts_total"] == aborts + 1)
    await until(lambda: server.metrics()["tabwright_llm_aborts_total"] == aborts + 1)
    await until(lambda: server.metrics()["tabwright_llm_active"] == 0)
    assert ask(server, "whole", PROMPT)[1] == "length"


async def test_a_server_that_is_told_to_end_keeps_nobody_waiting_and_leaves_nothing(
    server: TritonServer,
) -> None:
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    from server.engines.triton_wire import ask as message
    from server.engines.triton_wire import read

    running = server.node.running()
    assert running is not None
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer()
        await call.write(message("whole", "last", PROMPT, SamplingParams(), 100))
        heard = read(await call.read())
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, server.stop)
            with anyio.fail_after(PATIENCE_S):
                try:
                    while not heard.final and (told := await call.read()) is not grpc.aio.EOF:
                        heard = read(told)
                    await call.done_writing()
                except grpc.aio.AioRpcError:
                    pass  # too slow for Triton's patience, and cut off
    assert not node._named(running.shm_prefix)
    assert not list(node.SHARED_MEMORY.glob(running.shm_prefix + "*"))
