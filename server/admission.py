"""Who may start a completion now: rates, bounded concurrency, a line in which callers take turns.

A free slot goes to the waiting caller who runs the fewest completions; among equals to the one
whose turn is longest ago; among one caller's requests to the first. So somebody who asks for one
thing waits for one slot, however many another asks for, and nobody waits for ever: a caller who
gets no slot soon runs nothing, and then stands before everybody who came later.

When the line is full, whoever has fewest in it still gets in, in place of the last request of who
has most; everybody else hears *busy* at once instead of waiting for an answer that nobody reads.
A request that leaves the line (cancelled) leaves no trace. The engine keeps its own count of KV
blocks; this file knows nothing of them. Read `Admission.permit` first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from server.caller import Caller
from server.rates import Rate, Rates
from tabwright.errors import EngineOverloaded

_NOBODY = Caller()


@dataclass(slots=True, eq=False)
class _Waiter:
    """A place in line. It is left with a slot, or without one in favour of somebody else."""

    patient: bool
    granted: bool = False
    called: anyio.Event = field(default_factory=anyio.Event)


class Admission:
    """At most `max_running` completions at a time and `max_waiting` in line."""

    def __init__(
        self,
        max_running: int,
        max_waiting: int,
        rate: Rate | None = None,
        rates: Rates | None = None,
    ) -> None:
        """Open the gate with all slots free; `rate` is what each person may start."""
        self._max_running = max_running
        self.max_waiting = max_waiting
        self.rate = rate
        self._rates = rates or Rates()
        self._held: dict[str, int] = {}  # slots by share, those of nobody left out
        self._line: dict[str, deque[_Waiter]] = {}  # by share; whose turn is longest ago is first
        self.running = 0
        self.waiting = 0

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self.running == self.waiting == 0

    @asynccontextmanager
    async def permit(
        self, caller: Caller = _NOBODY, *, patient: bool = False, paid: bool = False
    ) -> AsyncIterator[None]:
        """Hold one slot for the length of the block; wait in line for it if there is room.

        patient: for the second and later choices of a request that is already inside, which may
        always wait; how many there are is bounded by the request. paid: counts towards no rate,
        because the request has paid before. Who leaves the line without a slot gets it back.

        Raises:
            RateLimited: the caller's key or the caller started too many.
            EngineOverloaded: no slot is free and the line is full.
        """
        limits = {} if paid else self._limits(caller)
        self._rates.take(limits)
        try:
            await self._enter(caller.share, patient)
        except BaseException:
            self._rates.give_back(limits)
            raise
        try:
            yield
        finally:
            self._release(caller.share)

    def _limits(self, caller: Caller) -> Mapping[str, Rate]:
        limits = {}
        if self.rate:
            limits[f"user {caller.share}"] = self.rate
        if caller.rate:
            limits[f"key {caller.key}"] = caller.rate
        return limits

    async def _enter(self, share: str, patient: bool) -> None:
        if self.running < self._max_running:  # then nobody waits
            self._take(share)
            return
        if not patient and self.waiting >= self.max_waiting:
            self._make_room(share)
        waiter = _Waiter(patient)
        self._line.setdefault(share, deque()).append(waiter)
        self.waiting += 1
        try:
            await waiter.called.wait()
        except BaseException:  # the slot may have come in the same instant
            if waiter.granted:
                self._release(share)
            elif not waiter.called.is_set():
                self._leave(share, waiter)
            raise
        if not waiter.granted:
            raise self._overloaded()

    def _make_room(self, share: str) -> None:
        """Send the last request of the longest queue away, unless this share's would be as long."""
        own = len(self._line.get(share, ()))
        most = max(self._line, key=lambda other: len(self._line[other]), default=share)
        sent = next((w for w in reversed(self._line.get(most, ())) if not w.patient), None)
        if sent is None or len(self._line[most]) <= own + 1:
            raise self._overloaded()
        self._leave(most, sent)
        sent.called.set()

    def _leave(self, share: str, waiter: _Waiter) -> None:
        self._line[share].remove(waiter)
        if not self._line[share]:
            del self._line[share]
        self.waiting -= 1

    def _take(self, share: str) -> None:
        self._held[share] = self._held.get(share, 0) + 1
        self.running += 1
        self._had_its_turn(share)

    def _release(self, share: str) -> None:
        self._held[share] -= 1
        if not self._held[share]:
            del self._held[share]
        self.running -= 1
        self._had_its_turn(share)
        if self._line:
            following = min(self._line, key=lambda other: self._held.get(other, 0))
            waiter = self._line[following][0]
            self._leave(following, waiter)
            self._take(following)
            waiter.granted = True
            waiter.called.set()

    def _had_its_turn(self, share: str) -> None:
        if share in self._line:
            self._line[share] = self._line.pop(share)

    def _overloaded(self) -> EngineOverloaded:
        return EngineOverloaded(
            f"{self.running} completions are running and {self.waiting} are waiting; "
            "try again shortly"
        )
