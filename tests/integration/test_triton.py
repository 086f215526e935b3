"""The exported model in a real Triton server on the CPU, asked by the gateway's own engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from server.engines.registry import load_engine
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine
from tabwright.errors import ConfigError, EngineFailed, EngineUnavailable
from tabwright.request import SamplingParams
from tests.fakes.live_gateway import complete, live_gateway
from tests.fakes.triton_server import TritonServer, transformers_python, triton_server
from training.export.tensorrt_llm import export_model

pytestmark = [pytest.mark.anyio, pytest.mark.needs("triton")]
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "1"
    export_model(BUNDLED_MODEL, out, to="local_llm")
    return out


@pytest.fixture(scope="module")
def artifact(export: Path) -> ModelArtifact:
    return ModelArtifact.load(export / "checkpoint")


@pytest.fixture(scope="module")
def server(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(export / "model_repository", tmp_path_factory.mktemp("home")) as server:
        yield server


def engine_on(server: TritonServer, artifact: ModelArtifact, **options: Any) -> Any:
    options = {"urls": (f"127.0.0.1:{server.grpc_port}",), "stall_timeout_s": 20.0} | options
    return load_engine("triton", artifact, **options)


async def ids_of(engine: CompletionEngine, prompt: list[int], count: int) -> list[int]:
    async with engine.stream(prompt, SamplingParams(max_tokens=count)) as pieces:
        return [i async for piece in pieces for i in piece.ids]


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while True:
            if condition():
                return
            await anyio.sleep(0.01)


async def test_greedy_ids_are_those_of_transformers(
    server: TritonServer, export: Path, artifact: ModelArtifact
) -> None:
    """Written down by transformers 5 without a cache, computed in Triton by 4.57.3 with one."""
    answers = json.loads((export / "reference.json").read_text())["answers"]
    async with engine_on(server, artifact) as engine:
        for answer in answers:
            assert await ids_of(engine, answer["prompt"], len(answer["ids"])) == answer["ids"]


async def test_the_source_artifact_may_stand_before_its_export(server: TritonServer) -> None:
    async with engine_on(server, ModelArtifact.load(BUNDLED_MODEL)) as engine:
        await engine.check()


async def test_another_model_before_the_export_is_refused(
    server: TritonServer, tiny: ModelArtifact, artifact: ModelArtifact
) -> None:
    with pytest.raises(ConfigError, match="was not exported from the model"):
        async with engine_on(server, tiny, model=artifact.name):
            pass


async def test_too_many_slots_are_refused(server: TritonServer, artifact: ModelArtifact) -> None:
    with pytest.raises(ConfigError, match="max_running 65"):
        async with engine_on(server, artifact, slots=65):
            pass


async def test_no_server_is_unavailable(artifact: ModelArtifact) -> None:
    with pytest.raises(EngineUnavailable):
        async with load_engine("triton", artifact, urls=("127.0.0.1:9",), start_timeout_s=0.5):
            pass


async def test_100_cancels_free_the_model_and_leak_nothing(
    server: TritonServer, artifact: ModelArtifact
) -> None:
    prompt = artifact.tokenizer.encode("def total(values):\n    return ")
    aborts = server.metrics().get("tabwright_llm_aborts_total", 0)
    async with engine_on(server, artifact, slots=8) as engine:

        async def leave() -> None:
            async with engine.stream(prompt, SamplingParams(max_tokens=500)) as pieces:
                async for _ in pieces:
                    return

        for _ in range(20):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(leave)
        await until(lambda: engine.stats().running == 0)
        assert engine.stats().cancelled == 100
        # Metrics are told after the last response.
        await until(lambda: server.metrics()["tabwright_llm_aborts_total"] == aborts + 100)
        await until(lambda: server.metrics()["tabwright_llm_active"] == 0)
        assert server.metrics()["tabwright_llm_waiting"] == 0
        assert len(await ids_of(engine, prompt, 8)) == 8


def test_through_the_gateway_characters_are_whole_and_a_stop_string_ends_the_model(
    server: TritonServer, artifact: ModelArtifact
) -> None:
    options = {"urls": (f"127.0.0.1:{server.grpc_port}",), "stall_timeout_s": 20.0}
    settings: dict[str, Any] = {"postprocess": "off", "typeahead_mb": 0}
    with live_gateway(artifact, "triton", options=options, **settings) as live:

        def ask(prompt: str, **fields: Any) -> Any:
            body = {"prompt": prompt, "max_tokens": 60, "temperature": 0} | fields
            answer = httpx.post(f"{live.url}/v1/completions", json=body, timeout=PATIENCE_S)
            return answer.json()["choices"][0]

        faces: dict[str, Any] = {"prompt": "🙂" * 8, "max_tokens": 60, "temperature": 0}
        assert ask(**faces)["text"] == "🙂" * 20, "three tokens each"
        with complete(live.port, body=faces | {"stream": True}) as client:
            client.read_until(rb"\[DONE\]")
            parts = [event["choices"][0]["text"] for event in client.events()]
        assert "".join(parts) == "🙂" * 20
        assert not any("\ufffd" in part for part in parts)
        free = ask("# größe\n")["text"]
        stop = free[len(free) // 3 :][:4]
        aborts = server.metrics().get("tabwright_llm_aborts_total", 0)
        short = ask("# größe\n", stop=[stop], max_tokens=800)
        assert (short["text"], short["finish_reason"]) == (free[: free.index(stop)], "stop")
        live.wait(
            lambda: server.metrics()["tabwright_llm_aborts_total"] == aborts + 1, "it was aborted"
        )


async def test_a_model_process_that_hangs_is_unavailable_though_triton_says_ready(
    server: TritonServer, artifact: ModelArtifact
) -> None:
    prompt = artifact.tokenizer.encode("import os\n")
    [stub] = server.stub_pids()
    async with engine_on(server, artifact, stall_timeout_s=2.0) as engine:
        os.kill(stub, signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(EngineFailed):
                await ids_of(engine, prompt, 400)
            assert time.monotonic() - start < PATIENCE_S
            with pytest.raises(EngineUnavailable):
                await engine.check()
        finally:
            # Only an operator helps; and 24.10 may die of the stream that was given up.
            server.kill()
            await anyio.to_thread.run_sync(server.start)
        await until(lambda: engine.stats().restarts == 1)
        assert len(await ids_of(engine, prompt, 4)) == 4


def test_transformers_4_57_reads_the_same_model(export: Path, artifact: ModelArtifact) -> None:
    """The version in NVIDIA's container: ids of texts, rotary base, the likeliest next token."""
    code = (
        "import json, sys, torch, transformers\n"
        "folder, given = sys.argv[1], json.load(sys.stdin)\n"
        "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)\n"
        "model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)\n"
        "ids = [tokenizer(t, add_special_tokens=False)['input_ids'] for t in given['texts']]\n"
        "last = [int(model(torch.tensor([p])).logits[0, -1].argmax()) for p in given['prompts']]\n"
        "print(json.dumps([transformers.__version__, model.config.rope_theta, ids, last]))\n"
    )
    answers = json.loads((export / "reference.json").read_text())["answers"]
    texts = ["def f(x):\r\n\treturn x  # größe 東京 🙂\n", "  a\n    b\n"]
    given = {"texts": texts, "prompts": [answer["prompt"] for answer in answers]}
    done = subprocess.run(
        [transformers_python(), "-c", code, export / "checkpoint"],
        input=json.dumps(given), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    version, theta, ids, last = json.loads(done.stdout)
    assert version == "4.57.3"
    assert theta == artifact.config["rope_theta"]
    assert ids == [artifact.tokenizer.encode(text) for text in texts]
    assert last == [answer["ids"][0] for answer in answers]
