"""Several Tritons, and such as hang, die or go away: the engine against a fake of their gRPC."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest

from server.engines.registry import load_engine
from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine
from tabwright.errors import ConfigError, EngineFailed, EngineUnavailable
from tabwright.request import SamplingParams

pytest.importorskip("grpc")
pytest.importorskip("tritonclient")
from tests.fakes.triton_grpc import FakeTriton, fake_tritons

pytestmark = pytest.mark.anyio
PATIENCE_S = 20.0  # the machine may be busy
STALL_S = 0.4


@pytest.fixture
async def servers(tiny: ModelArtifact) -> AsyncIterator[list[FakeTriton]]:
    async with fake_tritons(2, tiny) as servers:
        yield servers


def engine_on(artifact: ModelArtifact, *servers: FakeTriton, stall_s: float = 5.0) -> object:
    urls = tuple(server.url for server in servers)
    return load_engine("triton", artifact, urls=urls, slots=8, stall_timeout_s=stall_s)


async def ids_of(engine: CompletionEngine, count: int) -> list[int]:
    async with engine.stream([1, 2, 3], SamplingParams(max_tokens=count)) as pieces:
        return [i async for piece in pieces for i in piece.ids]


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110, the engine's books have no bell
            await anyio.sleep(0.005)


async def test_requests_go_to_the_server_that_has_the_fewest(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    async with engine_on(tiny, *servers) as engine, anyio.create_task_group() as group:  # type: ignore[attr-defined]
        for _ in range(6):
            group.start_soon(ids_of, engine, 20)
        await until(lambda: [len(server.running) for server in servers] == [3, 3])


async def test_a_server_that_goes_away_fails_who_has_tokens_and_nobody_else(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    first, second = servers
    async with engine_on(tiny, first, second) as engine:  # type: ignore[attr-defined]
        async with engine.stream([1], SamplingParams(max_tokens=500)) as begun:
            async for _ in begun:
                break
            first.mode = "mute"
            async with engine.stream([1], SamplingParams(max_tokens=5)) as other:
                assert [i async for piece in other for i in piece.ids] == [1, 2, 3, 4, 5]
            async with engine.stream([1], SamplingParams(max_tokens=600)):
                pass
            await until(lambda: engine.stats().running == 1)
            await first.vanish()
            with pytest.raises(EngineFailed), anyio.fail_after(PATIENCE_S):
                async for _ in begun:
                    pass
        asked = second.asked
        assert await ids_of(engine, 4) == [1, 2, 3, 4]
        assert second.asked == asked + 1


async def test_who_has_no_token_yet_is_asked_of_another_server(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    first, second = servers
    first.mode = "mute"
    async with (
        engine_on(tiny, first, second) as engine,  # type: ignore[attr-defined]
        engine.stream([1], SamplingParams(max_tokens=5)) as pieces,
    ):
        await until(lambda: first.asked == 1)
        await first.vanish()
        with anyio.fail_after(PATIENCE_S):
            assert [i async for piece in pieces for i in piece.ids] == [1, 2, 3, 4, 5]
        assert engine.stats().running == 0


async def test_a_server_that_comes_back_is_asked_again(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    first, second = servers
    async with engine_on(tiny, first, second) as engine:  # type: ignore[attr-defined]
        await first.vanish()
        await until(lambda: not engine._links[0].up)
        assert await ids_of(engine, 3) == [1, 2, 3]
        await first.start()
        await until(lambda: engine.stats().restarts == 1)
        before = first.asked
        assert await ids_of(engine, 3) == [1, 2, 3]
        assert first.asked == before + 1


@pytest.mark.parametrize("mode", ["silent", "dead"])
async def test_a_model_that_hangs_or_is_dead_is_unavailable_and_comes_back(
    tiny: ModelArtifact, servers: list[FakeTriton], mode: str
) -> None:
    server = servers[0]
    async with engine_on(tiny, server, stall_s=STALL_S) as engine:  # type: ignore[attr-defined]
        server.mode = mode
        with pytest.raises((EngineFailed, EngineUnavailable)), anyio.fail_after(PATIENCE_S):
            await ids_of(engine, 400)
        with pytest.raises(EngineUnavailable), anyio.fail_after(PATIENCE_S):
            await ids_of(engine, 4)
        server.mode = "ok"
        await until(lambda: engine.stats().restarts == 1)
        assert await ids_of(engine, 4) == [1, 2, 3, 4]


async def test_an_idle_model_that_hangs_is_noticed_before_anybody_asks(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    server = servers[0]
    async with engine_on(tiny, server, stall_s=STALL_S) as engine:  # type: ignore[attr-defined]
        server.mode = "silent"
        await until(lambda: not engine._links[0].up)
        started = time.perf_counter()
        with pytest.raises(EngineUnavailable):
            await ids_of(engine, 4)
        assert time.perf_counter() - started < STALL_S


async def test_one_server_of_two_is_enough_to_start(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    await servers[0].vanish()
    async with engine_on(tiny, *servers) as engine:  # type: ignore[attr-defined]
        assert await ids_of(engine, 3) == [1, 2, 3]


async def test_a_wrong_server_among_right_ones_is_refused_at_the_start(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    servers[1].max_active = 4
    with pytest.raises(ConfigError, match="max_running 8"):
        async with engine_on(tiny, *servers):  # type: ignore[attr-defined]
            pass


async def test_what_one_server_refuses_the_engine_refuses(
    tiny: ModelArtifact, servers: list[FakeTriton]
) -> None:
    servers[0].refuses = "min_p"
    servers[1].refuses = "presence_penalty"
    async with engine_on(tiny, *servers) as engine:  # type: ignore[attr-defined]
        assert {"min_p", "presence_penalty", "logit_bias"} <= engine.refuses
