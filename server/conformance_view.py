"""How a server is seen from outside: whether an abandoned request still holds its slot.

By gauges where the server shows them (`Gauges`); without, by how long a small request waits for the
one slot that the abandoned request had (`Probe`), which is coarse. Which gauges a server has is
told by their names. Read `Observer` first.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

import anyio
from anyio.abc import ByteStream

from server.conformance_client import Client, Load
from server.conformance_protocols import Speech
from server.raw_client import Exchange, Target
from tabwright.errors import Unavailable

PATIENCE_S = 5.0  # what still holds its slot after that has failed, however long it will take
_REST_S = 60.0
_SETTLED_S = 0.05  # a gauge must stay down that long; an abandoned request may come in late
_POLL_S = 0.001
_PROBES = 9


class NotObservable(Unavailable):
    """What a path is about did not come about, or cannot be seen from outside."""


class Observer(Protocol):
    """Sees from outside whether a slot is free."""

    @property
    def server(self) -> str:
        """What kind of server it is, as far as that is known."""

    @property
    def means(self) -> str:
        """By what it sees."""

    @property
    def grain_ms(self) -> float:
        """What one look costs, or how far two looks differ by themselves (p95)."""

    @property
    def sees_line(self) -> bool:
        """Whether waiting requests are told from running ones."""

    async def rest(self) -> None:
        """Wait until nothing runs but our own load.

        Raises:
            NotObservable: it goes on.
        """

    async def entered(self) -> bool:
        """Wait until a request that was just sent is on its way; whether it was seen."""

    async def freed_ms(self, since: float) -> float:
        """Milliseconds from `since` until only our own load is left, at most the patience."""


class Reading(NamedTuple):
    """What the gauges show."""

    running: tuple[float, ...]
    waiting: float

    def within(self, other: Reading) -> bool:
        """Whether no figure is above the other's."""
        below = all(a <= b for a, b in zip(self.running, other.running, strict=True))
        return below and self.waiting <= other.waiting


@dataclass(frozen=True, slots=True)
class Family:
    """The gauges of one kind of server.

    stepwise: they are refreshed by a step of the engine only, so something must always run.
    """

    server: str
    running: tuple[str, ...]
    waiting: tuple[str, ...] = ()
    stepwise: bool = False


TABWRIGHT = "Tabwright"
FAMILIES = (
    Family(
        TABWRIGHT,
        ("tabwright_admitted", "tabwright_engine_running", "tabwright_engine_waiting"),
        ("tabwright_in_line",),
    ),
    Family("vLLM", ("vllm:num_requests_running",), ("vllm:num_requests_waiting",), stepwise=True),
    Family("SGLang", ("sglang:num_running_reqs",), ("sglang:num_queue_reqs",), stepwise=True),
    Family("TGI", ("tgi_batch_current_size",), ("tgi_queue_size",)),
    Family("llama.cpp", ("llamacpp:requests_processing",), ("llamacpp:requests_deferred",)),
)
SLOTS = Family("llama.cpp", ("/slots",))


class Poller:
    """Reads one page again and again on one connection."""

    def __init__(self, target: Target, path: str) -> None:
        """Read `path` of `target`."""
        self._target, self._path = target, path
        self._stream: ByteStream | None = None

    def only(self, names: Sequence[str]) -> Poller:
        """One that asks for these gauges alone: cheap where the server knows the question."""
        query = urlencode([("name[]", name) for name in names])
        return Poller(self._target, f"{self._path}?{query}")

    async def page(self) -> bytes:
        """The page now; empty if the server has none there."""
        for _ in range(2):  # a kept connection may have been closed meanwhile
            kept = self._stream is not None
            answer = await self._ask()
            if answer.status:
                return bytes(answer.body) if answer.status == 200 else b""
            await self.aclose()
            if not kept:
                break
        return b""

    async def aclose(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None

    async def _ask(self) -> Exchange:
        if self._stream is None:
            self._stream = await self._target.connect()
        answer = Exchange(self._stream)
        try:
            await self._stream.send(self._target.request("GET", self._path, None, {}))
            await answer.rest()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            answer.ended = True
        return answer


def read_gauges(page: bytes, family: Family) -> Reading | None:
    """Sum each gauge over its labels; None if a running one is not on the page."""
    if family is SLOTS:
        try:
            slots = json.loads(page)
            return Reading((float(sum(bool(row["is_processing"]) for row in slots)),), 0.0)
        except (ValueError, TypeError, KeyError):
            return None
    values = [_sum(page, name) for name in family.running]
    if None in values:
        return None
    waiting = sum(_sum(page, name) or 0.0 for name in family.waiting)
    return Reading(tuple(value or 0.0 for value in values), waiting)


def _sum(page: bytes, name: str) -> float | None:
    line = rb"(?m)^" + re.escape(name.encode()) + rb"(?:\{[^\n]*\})? ([^ \n]+)"
    found = re.findall(line, page)
    return sum(map(float, found)) if found else None


async def find_gauges(
    target: Target, metrics: Target | None, names: Sequence[str]
) -> tuple[Poller, Family] | None:
    """Look where servers show what they run: `names`, or what is known."""
    families = (Family("unknown", tuple(names)),) if names else FAMILIES
    poller = Poller(metrics, "") if metrics else Poller(target, "/metrics")
    page = await poller.page()
    for family in families:
        if read_gauges(page, family):
            few = poller.only(family.running + family.waiting)
            if read_gauges(await few.page(), family):
                await poller.aclose()
                return few, family
            await few.aclose()
            return poller, family
    await poller.aclose()
    if not metrics and not names:
        poller = Poller(target, "/slots")
        if read_gauges(await poller.page(), SLOTS):
            return poller, SLOTS
        await poller.aclose()
    return None


class Gauges:
    """An observer that reads what the server shows."""

    def __init__(self, poller: Poller, family: Family, load: Load) -> None:
        """Read `family`; `load` is all that runs at rest."""
        self._poller, self._family, self._load = poller, family, load
        self.server, self.means = family.server, ", ".join(family.running + family.waiting)
        self.sees_line = bool(family.waiting)
        self._looks_ms: list[float] = []
        self._base = Reading((0.0,) * len(family.running), 0.0)

    @property
    def grain_ms(self) -> float:
        """The time of one reading, p95."""
        looks = sorted(self._looks_ms) or [0.0]
        return looks[(len(looks) - 1) * 95 // 100]

    async def read(self) -> Reading:
        """Read now.

        Raises:
            NotObservable: the server stopped showing them.
        """
        start = time.perf_counter()
        reading = read_gauges(await self._poller.page(), self._family)
        if reading is None:
            raise NotObservable(f"the server stopped showing {self.means}")
        self._looks_ms.append((time.perf_counter() - start) * 1000)
        return reading

    async def rest(self) -> None:
        """See `Observer`; remembers what is shown then."""
        if self._family.stepwise and not self._load:
            await self._load.add(PATIENCE_S)
        with anyio.move_on_after(_REST_S):
            since, last = time.perf_counter(), await self.read()
            while True:
                await anyio.sleep(_POLL_S)
                reading, now = await self.read(), time.perf_counter()
                busy = reading.waiting > 0 or max(reading.running) > len(self._load)
                if busy or reading != last:
                    since, last = now, reading
                elif now - since > _SETTLED_S:
                    self._base = reading
                    return
        raise NotObservable("the server is busy with other requests, or never ends ours")

    async def entered(self) -> bool:
        """See `Observer`."""
        return await self._until_above(lambda reading: not reading.within(self._base))

    async def waits(self) -> bool:
        """Wait until a request stands in line; whether one does."""
        return await self._until_above(lambda reading: reading.waiting > self._base.waiting)

    async def freed_ms(self, since: float, allowed: Reading | None = None) -> float:
        """See `Observer`; `allowed`, where given, may be shown instead of the rest's figures."""
        free: float | None = None
        while True:
            down = (await self.read()).within(allowed or self._base)
            now = time.perf_counter()
            free = (free or now) if down else None
            if free and now - free > _SETTLED_S:
                return (free - since) * 1000
            if now - since > PATIENCE_S:
                return PATIENCE_S * 1000
            await anyio.sleep(_POLL_S)

    async def _until_above(self, condition: Callable[[Reading], bool]) -> bool:
        with anyio.move_on_after(PATIENCE_S / 5):
            while not condition(await self.read()):  # noqa: ASYNC110  (gauges have no bell)
                await anyio.sleep(_POLL_S)
            return True
        return False


class Probe:
    """An observer that asks for the slot itself: all others are taken by our load.

    What it sees is how much longer than usual a small request waited for its first piece.
    """

    server, sees_line = "unknown", False

    def __init__(self, client: Client, speech: Speech, load: Load) -> None:
        """Ask by `speech`, as `load` does; `prepare` must come first."""
        self._client, self._speech, self._load, self._pace = client, speech, load, load.pace
        self._usual_ms: list[float] = []
        self.means = "black box"

    @property
    def grain_ms(self) -> float:
        """How far usual waits differ."""
        return max(self._usual_ms) - statistics.median(self._usual_ms)

    async def prepare(self, most: int) -> None:
        """Find how many requests run at once, and take all slots but one.

        Raises:
            NotObservable: `most` of them run at once, so a slot cannot be told from another.
        """
        pace, waiting = self._pace, 0
        patience_s = max(3 * pace.first_s, min(1.0, pace.answer_s / 4))
        while waiting < 2:  # one alone may just be slow
            waiting = 0 if await self._load.add(patience_s) else waiting + 1
            if len(self._load) > most:
                self._load.drop(most + 1)
                raise NotObservable(
                    f"the server shows no gauges, and {most} requests ran at once; give "
                    "--metrics-url, or --most above the number of its slots"
                )
        slots = len(self._load) - waiting
        self._load.drop(waiting + 1)
        if not slots:
            raise NotObservable("the server shows no gauges, and no stream of it came in time")
        self.means = f"black box: waits for the last of {slots} slots"
        await self.rest()
        self._usual_ms = [await self._wait_ms(_REST_S) for _ in range(_PROBES)]

    async def rest(self) -> None:
        """See `Observer`: until a small request is served about as soon as ever."""
        soon_ms = 1000 * max(3 * self._pace.first_s, self._pace.first_s + 0.1)
        with anyio.move_on_after(_REST_S):
            while await self._wait_ms(_REST_S) > soon_ms:  # noqa: ASYNC110  (nobody tells)
                await anyio.sleep(_SETTLED_S)
            return
        raise NotObservable("the server is busy with other requests, or never ends ours")

    async def entered(self) -> bool:
        """See `Observer`: it can only be waited for."""
        await anyio.sleep(self._pace.first_s / 2)
        return True

    async def freed_ms(self, since: float) -> float:
        """See `Observer`."""
        before_ms = (time.perf_counter() - since) * 1000
        waited_ms = before_ms + await self._wait_ms(PATIENCE_S)
        return max(0.0, min(waited_ms, PATIENCE_S * 1000) - statistics.median(self._usual_ms))

    async def _wait_ms(self, patience_s: float) -> float:
        """Until the first piece of a small request; asks again when refused."""
        sent = time.perf_counter()
        with anyio.move_on_after(patience_s):
            while True:
                async with self._client.ask(self._speech, tokens=1, stream=True) as answer:
                    while not answer.body and await answer.receive():
                        pass
                if answer.status == 200:
                    break
                await anyio.sleep(0.02)
        return (time.perf_counter() - sent) * 1000
