"""Asking whether the gateway is ready is cheap, and a busy engine is a ready one."""

from __future__ import annotations

import time

import anyio
import pytest

from server.inflight import Inflight
from server.readiness import Readiness
from tabwright.engine import EngineStats
from tabwright.errors import EngineUnavailable

pytestmark = pytest.mark.anyio


class SlowEngine:
    """An engine whose check takes a while, and which may generate for others meanwhile."""

    def __init__(self, check_s: float, *, generates: bool = False) -> None:
        self.check_s = check_s
        self.generates = generates
        self.checks = 0
        self.error: str | None = None

    def stats(self) -> EngineStats:
        tokens = int(time.monotonic() * 1000) if self.generates else 0
        return EngineStats(generated_tokens=tokens)

    async def check(self) -> None:
        self.checks += 1
        await anyio.sleep(self.check_s)
        if self.error:
            raise EngineUnavailable(self.error)


def readiness(engine: SlowEngine) -> tuple[Readiness, Inflight]:
    inflight = Inflight(lambda *_: None)
    return Readiness({"tiny": engine}, inflight), inflight  # type: ignore[dict-item]


async def test_many_who_ask_at_once_cost_one_check() -> None:
    engine = SlowEngine(0.05)
    ready, _ = readiness(engine)
    answers: list[str | None] = []

    async def ask() -> None:
        answers.append(await ready.fault())

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    assert answers == [None] * 100
    assert engine.checks == 1


async def test_an_answer_is_forgotten_after_a_second() -> None:
    engine = SlowEngine(0)
    ready, _ = readiness(engine)
    assert await ready.fault() is None
    engine.error = "the worker died"
    assert await ready.fault() is None
    await anyio.sleep(1.05)
    assert await ready.fault() == "the worker died"
    assert engine.checks == 2


async def test_an_engine_that_generates_for_others_is_ready_before_its_check_has_a_turn() -> None:
    engine = SlowEngine(60, generates=True)
    ready, _ = readiness(engine)
    with anyio.fail_after(4):
        assert await ready.fault() is None


async def test_a_silent_engine_is_told_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.readiness._LIMIT_S", 0.3)
    ready, _ = readiness(SlowEngine(60))
    assert await ready.fault() == "the engine did not answer within 0.3 s"


async def test_draining_is_told_without_asking_the_engine() -> None:
    engine = SlowEngine(0)
    ready, inflight = readiness(engine)
    inflight.draining = True
    assert await ready.fault() == "draining"
    assert engine.checks == 0
