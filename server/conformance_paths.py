"""The ways to abandon a request, as seen from outside: for `server.conformance`.

Each path abandons one request in its state and gives the milliseconds until nothing of it is left,
or None if the state did not come about and the attempt does not count. Read `PATHS` first.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import anyio

from server.conformance_client import Client, Load, Pace, flows, silent
from server.conformance_protocols import Speech
from server.conformance_view import PATIENCE_S, TABWRIGHT, Gauges, NotObservable, Observer
from server.raw_client import Exchange, Target, send

_SPARE_ATTEMPTS = 20


class Verdict(StrEnum):
    """What is known of one path in one protocol."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    NOT_OBSERVABLE = "not observable"


@dataclass(frozen=True, slots=True)
class Bench:
    """One protocol of one server, ready to be measured."""

    client: Client
    speech: Speech
    observer: Observer
    load: Load
    pace: Pace
    rounds: int
    most: int
    allowed_ms: float
    proxied: Target | None

    def limit_ms(self, gaps_s: list[float] | None = None) -> float:
        """What is allowed, one step of the engine, and what one look costs."""
        gaps = sorted(gaps_s or self.pace.gaps_s) or [0.0]
        return self.allowed_ms + gaps[(len(gaps) - 1) * 95 // 100] * 1000 + self.observer.grain_ms

    def victim(
        self, headers: dict[str, str] | None = None, target: Target | None = None
    ) -> AbstractAsyncContextManager[Exchange]:
        """A long request, streamed where the protocol streams."""
        stream = bool(self.speech.stream_path)
        return self.client.ask(self.speech, stream=stream, headers=headers, target=target)

    async def runs(self, victim: Exchange) -> bool:
        """Wait until a request is being answered; whether it is, and will be for a while."""
        if self.speech.stream_path:
            return await flows(victim, self.speech)
        return await self.observer.entered() and await silent(victim, self.pace.token_s() * 3)


class Missing(NamedTuple):
    """Why a path is not walked."""

    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Path:
    """One way. missing: why a protocol or server does not have it. fills: all slots are taken."""

    once: Callable[[Bench], Awaitable[float | None]]
    missing: Callable[[Bench], Missing | None]
    fills: bool = False


async def measure(bench: Bench, path: Path) -> tuple[list[float], float]:
    """Walk a path `bench.rounds` times; return the milliseconds and their limit.

    Raises:
        NotObservable: its state did not come about.
    """
    if not path.fills:
        return await _repeat(bench, path), bench.limit_ms()
    try:
        await _fill(bench)
        samples = await _repeat(bench, path)
        return samples, bench.limit_ms(bench.load.gaps_s)
    finally:
        bench.load.drop(len(bench.load))


async def _repeat(bench: Bench, path: Path) -> list[float]:
    samples: list[float] = []
    for _ in range(bench.rounds * 3 + _SPARE_ATTEMPTS):
        await bench.observer.rest()
        ended = bench.load.ended
        ms = await path.once(bench)
        # If one of our own streams ended meanwhile, a slot came free that was not the victim's.
        if ms is None or (ended != bench.load.ended and ms <= bench.limit_ms()):
            continue
        samples.append(ms)
        if len(samples) == bench.rounds or ms >= PATIENCE_S * 1000:
            return samples
    raise NotObservable("no request was met in this state; the answers are too short")


async def _fill(bench: Bench) -> None:
    """Take all slots, so that whoever comes next must wait."""
    observer = bench.observer
    assert isinstance(observer, Gauges)
    await observer.rest()
    soon_s = 2 * bench.load.pace.first_s + 0.05
    while len(bench.load) < bench.most:
        if not await bench.load.add(soon_s) and (await observer.read()).waiting:
            bench.load.drop(1)
            return
    raise NotObservable(f"no request had to wait when {bench.most} ran; give --most")


async def _queued(bench: Bench) -> float | None:
    observer = bench.observer
    assert isinstance(observer, Gauges)
    async with bench.victim() as victim:
        waits = await observer.waits() and await silent(victim, 0.001)
        left = time.perf_counter()
    free_ms = await observer.freed_ms(left)
    return free_ms if waits else None


async def _before_first_token(bench: Bench) -> float | None:
    async with bench.victim() as victim:
        early = await bench.observer.entered() and await silent(victim, 0.001)
        left = time.perf_counter()
    free_ms = await bench.observer.freed_ms(left)
    return free_ms if early else None


async def _mid_stream(bench: Bench) -> float | None:
    return await _leave_running(bench, None)


async def _behind_proxy(bench: Bench) -> float | None:
    return await _leave_running(bench, bench.proxied)


async def _leave_running(bench: Bench, target: Target | None) -> float | None:
    async with bench.victim(target=target) as victim:
        running = await bench.runs(victim)
        left = time.perf_counter()
    free_ms = await bench.observer.freed_ms(left)
    return free_ms if running else None


async def _whole_answer(bench: Bench) -> float | None:
    wait_s = min(bench.pace.first_s + 3 * bench.pace.token_s(), bench.pace.answer_s / 2)
    async with bench.client.ask(bench.speech) as victim:
        running = await bench.observer.entered() and await silent(victim, wait_s)
        left = time.perf_counter()
    free_ms = await bench.observer.freed_ms(left)
    return free_ms if running else None


async def _superseded(bench: Bench) -> float | None:
    """The older's connection stays open: it is free when it was told, and only the newer runs."""
    observer = bench.observer
    assert isinstance(observer, Gauges)
    session = {"X-Tabwright-Session": f"conformance-{uuid.uuid4().hex}"}
    async with bench.victim(session) as older:
        running = await bench.runs(older)
        one = await observer.read()
        sent = time.perf_counter()
        async with bench.victim(session) as newer:
            with anyio.move_on_after(PATIENCE_S):
                await older.rest()
            free_ms = await observer.freed_ms(sent, one)
            running = running and await bench.runs(newer)
    await observer.rest()
    return free_ms if running else None


async def _explicit_cancel(bench: Bench) -> float | None:
    name = f"conformance-{uuid.uuid4().hex}"
    async with bench.victim({"X-Request-Id": name}) as victim:
        running = await bench.runs(victim)
        sent = time.perf_counter()
        async with send(bench.client.target, f"/v1/completions/{name}/cancel") as answer:
            await answer.rest()
        free_ms = await bench.observer.freed_ms(sent)
    return free_ms if running else None


def _never(_: Bench) -> Missing | None:
    return None


def _without_line(bench: Bench) -> Missing | None:
    if bench.observer.sees_line:
        return None
    return Missing(Verdict.NOT_OBSERVABLE, "the server does not show who waits")


def _without_stream(bench: Bench) -> Missing | None:
    if bench.speech.stream_path:
        return None
    return Missing(Verdict.NOT_APPLICABLE, "the protocol does not stream")


def _without_proxy(bench: Bench) -> Missing | None:
    return None if bench.proxied else Missing(Verdict.NOT_APPLICABLE, "no --proxied-url")


def _of_others(bench: Bench) -> Missing | None:
    if bench.observer.server == TABWRIGHT:
        return None
    return Missing(Verdict.NOT_APPLICABLE, "only Tabwright's own protocol has it")


PATHS = {
    "queued": Path(_queued, _without_line, fills=True),
    "before first token": Path(_before_first_token, _never),
    "mid-stream": Path(_mid_stream, _without_stream),
    "whole answer": Path(_whole_answer, _never),
    "behind proxy": Path(_behind_proxy, _without_proxy),
    "superseded": Path(_superseded, _of_others),
    "explicit cancel": Path(_explicit_cancel, _of_others),
}
