"""The CPU engine against the real OpenVINO: death, concurrency, prefix reuse, a tight pool."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil  # type: ignore[import-untyped]
import pytest

from server.engines.cpu import CpuEngine
from server.engines.cpu_settings import CpuSettings, Precision, WeightFormat
from server.engines.ir import ir_folder
from server.engines.line import blocks_for
from tabwright.artifact import ModelArtifact
from tabwright.engine import Tokens
from tabwright.errors import ConfigError, EngineFailed, EngineOverloaded, EngineUnavailable
from tabwright.request import Finish, SamplingParams
from tests.fakes.tiny_artifact import make_tiny_artifact

pytestmark = [pytest.mark.anyio, pytest.mark.needs("cpu")]
PATIENCE_S = 20
RESTART_S = 2.0
BUSY_MACHINE = 5  # how many times slower this machine may be while others use it


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ir")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest.fixture
def settings(cache: Path) -> CpuSettings:
    return CpuSettings(cache_dir=cache, threads=1, precision=Precision.F32)


async def generate(engine: CpuEngine, prompt: Sequence[int], sampling: SamplingParams) -> list[int]:
    async with engine.stream(prompt, sampling) as stream:
        return [i async for tokens in stream for i in tokens.ids]


async def drained(stream: AsyncIterator[Tokens]) -> None:
    async for _ in stream:
        pass


async def settled(engine: CpuEngine) -> None:
    with anyio.fail_after(PATIENCE_S):
        while True:
            stats = engine.stats()
            if (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0):
                return
            await anyio.sleep(0.001)


async def test_a_killed_worker_is_replaced_within_two_seconds(
    artifact: ModelArtifact, settings: CpuSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with CpuEngine(artifact, settings) as engine:
        async with engine.stream([5, 6, 7], SamplingParams(max_tokens=900)) as stream:
            await anext(aiter(stream))
            first_pid = engine.worker_pid
            assert first_pid is not None
            os.kill(first_pid, signal.SIGKILL)
            killed = time.perf_counter()
            with pytest.raises(EngineFailed):
                await drained(stream)
        assert await generate(engine, [5, 6, 7], SamplingParams(max_tokens=3))
        took_s = time.perf_counter() - killed
        assert engine.worker_pid != first_pid
        assert engine.stats().restarts == 1
        assert not psutil.pid_exists(first_pid), "the dead worker was not reaped"
    print(f"killed worker: next answer after {took_s:.2f} s")
    assert took_s < RESTART_S * BUSY_MACHINE


async def test_requests_in_line_survive_the_death_of_the_worker(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    narrow = replace(settings, slots=1)
    async with (
        CpuEngine(artifact, narrow) as engine,
        engine.stream([5, 6, 7], SamplingParams(max_tokens=900)) as running,
        engine.stream([5, 6, 8], SamplingParams(max_tokens=5)) as queued,
    ):
        assert engine.worker_pid is not None
        os.kill(engine.worker_pid, signal.SIGKILL)
        with pytest.raises(EngineFailed):
            await drained(running)
        assert len([i async for tokens in queued for i in tokens.ids]) == 5


async def test_a_silent_worker_is_replaced(artifact: ModelArtifact, settings: CpuSettings) -> None:
    impatient = replace(settings, stall_timeout_s=0.5)
    async with CpuEngine(artifact, impatient) as engine:
        assert engine.worker_pid is not None
        os.kill(engine.worker_pid, signal.SIGSTOP)
        with pytest.raises(EngineFailed):
            await generate(engine, [5, 6, 7], SamplingParams(max_tokens=3))
        assert await generate(engine, [5, 6, 7], SamplingParams(max_tokens=3))


async def test_closing_the_engine_ends_its_process(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    async with CpuEngine(artifact, settings) as engine:
        pid = engine.worker_pid
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


_PARENT = """
import anyio, sys
from pathlib import Path
from server.engines.cpu import CpuEngine
from server.engines.cpu_settings import CpuSettings
from tabwright.artifact import ModelArtifact

async def main():
    artifact = ModelArtifact.load(sys.argv[1])
    async with CpuEngine(artifact, CpuSettings(cache_dir=Path(sys.argv[2]), threads=1)) as engine:
        print(engine.worker_pid, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_the_worker_does_not_outlive_a_killed_gateway(
    artifact: ModelArtifact, cache: Path
) -> None:
    command = [sys.executable, "-c", _PARENT, str(artifact.path), str(cache)]
    async with await anyio.open_process(command) as parent:
        assert parent.stdout is not None
        pid = int(await parent.stdout.receive())
        assert psutil.pid_exists(pid)
        parent.kill()
        await parent.wait()
        with anyio.fail_after(PATIENCE_S):
            while True:
                if not _alive(pid):
                    break
                await anyio.sleep(0.01)


def _alive(pid: int) -> bool:
    """Whether it runs; one that nobody has reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_a_start_that_is_cancelled_leaves_no_process(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with anyio.move_on_after(0.1) as scope:
        async with CpuEngine(artifact, settings):
            pytest.fail("it cannot be up so soon")
    assert scope.cancelled_caught
    assert {child.pid for child in psutil.Process().children()} <= before


async def test_an_error_in_the_block_leaves_it_as_it_was(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with CpuEngine(artifact, settings):
            raise ZeroDivisionError


async def test_an_idle_worker_uses_no_processor(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    async with CpuEngine(artifact, settings) as engine:
        await engine.check()
        worker = psutil.Process(engine.worker_pid)
        before = sum(worker.cpu_times()[:2])
        await anyio.sleep(0.5)
        assert sum(worker.cpu_times()[:2]) - before < 0.1


async def test_eight_requests_share_the_steps(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    async with CpuEngine(artifact, settings) as engine:
        sampling = SamplingParams(max_tokens=100)
        prompts = [[n + 7, 20, 30, 40] for n in range(8)]
        alone = [await generate(engine, prompt, sampling) for prompt in prompts]
        before = (await engine.worker_stats()).steps
        together: dict[int, list[int]] = {}

        async def one(number: int) -> None:
            together[number] = await generate(engine, prompts[number], sampling)

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(one, number)
        steps = (await engine.worker_stats()).steps - before
        assert [together[n] for n in range(8)] == alone
        assert steps < 8 * 100 / 2, "they were computed one after the other"


async def test_a_repeated_prefix_is_not_computed_again(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    chunk = 64
    async with CpuEngine(artifact, replace(settings, chunk_tokens=chunk)) as engine:
        prompt = random.Random(1).choices(range(7, 500), k=900)
        one = SamplingParams(max_tokens=1)

        async def steps(ids: list[int]) -> int:
            before = (await engine.worker_stats()).steps
            await generate(engine, ids, one)
            return (await engine.worker_stats()).steps - before

        assert await steps(prompt) == -(-900 // chunk)
        assert await steps(prompt) == 1
        assert await steps([*prompt, 9, 9, 9]) == 1  # what typing does
        assert await steps([9, *prompt]) == -(-901 // chunk)  # nothing in common


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}], ids=str)
async def test_sampling_among_one_token_is_greedy(
    artifact: ModelArtifact, settings: CpuSettings, narrow: dict[str, Any]
) -> None:
    async with CpuEngine(artifact, settings) as engine:
        greedy = await generate(engine, [5, 6, 7], SamplingParams(max_tokens=20))
        one = SamplingParams(max_tokens=20, temperature=1.5, seed=3, **narrow)
        assert await generate(engine, [5, 6, 7], one) == greedy
        free = SamplingParams(max_tokens=20, temperature=1.5, seed=3)
        assert await generate(engine, [5, 6, 7], free) != greedy


async def test_a_tight_pool_queues_instead_of_dropping(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    """OpenVINO alone answers an overfull pool with empty answers."""
    tight = replace(settings, kv_cache_mb=1, waiting=100, chunk_tokens=128)
    choose = random.Random(3)
    async with CpuEngine(artifact, tight) as engine:
        total = engine.stats().kv_blocks_total
        assert total < 8 * blocks_for(artifact.max_context)
        most = 0

        async def one(length: int) -> None:
            nonlocal most
            prompt = choose.choices(range(7, 500), k=length)
            async with engine.stream(prompt, SamplingParams(max_tokens=40)) as stream:
                ids: list[int] = []
                async for tokens in stream:
                    most = max(most, engine.stats().kv_blocks_used)
                    ids += tokens.ids
                assert len(ids) == 40

        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(one, choose.randrange(1, 980))
        assert most <= total
        await settled(engine)


async def test_a_request_that_openvino_drops_is_a_failure(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    engine = CpuEngine(artifact, settings)
    false_books = replace(engine._supervisor._start, kv_blocks=8)
    engine._supervisor._start = false_books
    async with engine:
        with pytest.raises(EngineFailed, match="dropped"):
            await generate(engine, [9, 11, 13] * 300, SamplingParams(max_tokens=10))
        assert engine.stats().kv_blocks_used == 0
        assert await generate(engine, [9, 11, 13], SamplingParams(max_tokens=10))
        assert engine.stats().restarts == 0


async def test_1000_random_cancels_leak_nothing(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    """Cancel at random, then fill every block: a leaked one would make OpenVINO drop a request."""
    requests = 1000
    tight = replace(settings, kv_cache_mb=2, chunk_tokens=128)
    choose = random.Random(5)
    async with CpuEngine(artifact, tight) as engine:
        worker = psutil.Process(engine.worker_pid)
        files = worker.num_fds(), psutil.Process().num_fds()

        async def one() -> None:
            prompt = choose.choices(range(7, 500), k=choose.randrange(1, 900))
            with anyio.move_on_after(choose.expovariate(1 / 0.02)):
                with suppress(EngineOverloaded):
                    await generate(engine, prompt, SamplingParams(max_tokens=100))

        async with anyio.create_task_group() as group:
            for _ in range(requests):
                group.start_soon(one)
                await anyio.sleep(choose.expovariate(1 / 0.01))
        await settled(engine)
        stats = engine.stats()
        assert stats.cancelled > requests / 10
        assert (worker.num_fds(), psutil.Process().num_fds()) == files
        assert (await engine.worker_stats()).active == 0
        await _fill_the_pool(engine)
        assert engine.stats().restarts == 0


async def test_deaths_amid_random_cancels_leak_nothing(
    artifact: ModelArtifact, settings: CpuSettings
) -> None:
    choose = random.Random(8)
    ends = {"answered": 0, "failed": 0, "refused": 0}
    async with CpuEngine(artifact, settings) as engine:
        files = psutil.Process().num_fds()

        async def one() -> None:
            prompt = choose.choices(range(7, 500), k=choose.randrange(1, 300))
            with anyio.move_on_after(choose.choice([0.005, 0.05, PATIENCE_S])):
                try:
                    ids = await generate(engine, prompt, SamplingParams(max_tokens=60))
                    assert len(ids) == 60
                    ends["answered"] += 1
                except EngineFailed:
                    ends["failed"] += 1
                except EngineOverloaded:
                    ends["refused"] += 1

        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(one)
                if number in (50, 120, 121) and engine.worker_pid is not None:
                    os.kill(engine.worker_pid, signal.SIGKILL)
                await anyio.sleep(choose.expovariate(1 / 0.02))
        await settled(engine)
        assert engine.stats().restarts >= 1
        assert psutil.Process().num_fds() == files
        assert ends["answered"] > 20
        await _fill_the_pool(engine)


async def _fill_the_pool(engine: CpuEngine) -> None:
    full = engine.stats().kv_blocks_total // blocks_for(engine.max_context)
    choose = random.Random(6)

    async def one() -> None:
        prompt = choose.choices(range(7, 500), k=engine.max_context - 20)
        assert len(await generate(engine, prompt, SamplingParams(max_tokens=20))) == 20

    async with anyio.create_task_group() as group:
        for _ in range(full):
            group.start_soon(one)


async def test_a_damaged_cache_is_written_again(artifact: ModelArtifact, tmp_path: Path) -> None:
    settings = CpuSettings(cache_dir=tmp_path, threads=1)
    folder = ir_folder(tmp_path, artifact.digest, WeightFormat.INT8)
    folder.mkdir(parents=True)
    (folder / "openvino_model.xml").write_text("<net>")
    async with CpuEngine(artifact, settings) as engine:
        assert await generate(engine, [5, 6], SamplingParams(max_tokens=3))
    assert os.listdir(tmp_path) == [folder.name]


async def test_a_model_that_is_not_covered_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    scaled = {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    artifact = make_tiny_artifact(tmp_path / "scaled", config=scaled)
    with pytest.raises(ConfigError, match="rope scaling 'yarn'"):
        CpuEngine(artifact)


async def test_a_checkpoint_without_a_tensor_is_refused_by_its_name(
    tmp_path: Path,
) -> None:
    deeper = make_tiny_artifact(tmp_path / "deep", missing=("model.layers.1.mlp.up_proj.weight",))
    with pytest.raises(ConfigError, match=r"lacks the tensor 'model\.layers\.1\.mlp\.up"):
        async with CpuEngine(deeper, CpuSettings(cache_dir=tmp_path / "ir")):
            pass


async def test_a_pool_smaller_than_one_context_is_refused(artifact: ModelArtifact) -> None:
    wide = CpuSettings(kv_cache_mb=1, slots=1)
    big = dict(artifact.config) | {"num_hidden_layers": 400}
    with pytest.raises(ConfigError, match="one request of 1024 tokens needs 33"):
        wide.kv_blocks(big, 1024)


@pytest.mark.parametrize("precision", list(Precision))
async def test_the_pool_takes_the_memory_that_was_asked_for(
    artifact: ModelArtifact,
    settings: CpuSettings,
    precision: Precision,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    wanted = replace(settings, kv_cache_mb=8, precision=precision)
    async with CpuEngine(artifact, wanted):
        pass
    ready = next(r for r in caplog.records if r.message == "engine worker ready")
    assert ready.__dict__["kv_cache_mb"] == pytest.approx(8, rel=0.05)


async def test_a_worker_that_cannot_start_makes_the_engine_unavailable(
    artifact: ModelArtifact, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(EngineUnavailable, match="cannot be loaded"):
        async with CpuEngine(artifact, CpuSettings(cache_dir=blocked)):
            pass


async def test_int8_and_bf16_weights_answer_too(artifact: ModelArtifact, cache: Path) -> None:
    for form in (WeightFormat.INT8, WeightFormat.BF16):
        settings = CpuSettings(cache_dir=cache, weights=form, threads=1)
        async with CpuEngine(artifact, settings) as engine:
            async with engine.stream([5, 6, 7], SamplingParams(max_tokens=20)) as stream:
                pieces = [tokens async for tokens in stream]
            assert sum(len(p.ids) for p in pieces) == 20
            assert pieces[-1].finish is Finish.LENGTH
