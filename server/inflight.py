"""The cancel scope of every running request, and every way to end one before its time.

    disconnect   the client closed its connection (a watcher on ASGI `receive()` after the body)
    superseded   a newer request of the same editor session arrived
    requested    somebody cancelled it by its id
    deadline     its time is over
    shutdown     the gateway is going down and the drain limit has passed

All of them cancel one scope, so whatever runs inside, queued, streaming or not, ends the same way,
and leaving `async with engine.stream(...)` frees the slot. Each end is counted by reason together
with the tokens that were generated for nothing. Read `Inflight.run` first.

The watch on the connection is owned here because frameworks differ: starlette watches streaming
responses only, and not at all under ASGI 2.4.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

import anyio
from starlette.types import Receive

from server.caller import Caller, KeyScope, Wishes
from server.timing import Stage, Timing
from tabwright.errors import Unavailable
from tabwright.languages import OTHER_LANGUAGE


class EndReason(StrEnum):
    """Why a request was ended from outside."""

    DISCONNECT = "disconnect"
    SUPERSEDED = "superseded"
    REQUESTED = "requested"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"


class Source(StrEnum):
    """Where a suggestion came from: the engine, another request's running answer, or memory."""

    ENGINE = "engine"
    JOINED = "joined"
    MEMORY = "memory"


class ShuttingDown(Unavailable):
    """The gateway is draining and takes no new requests."""


@dataclass(slots=True, eq=False)
class Running:
    """One request on its way.

    `tokens` are those generated for it alone, and `timings` has an entry for each generation that
    it started; they, `first_token_at`, `source` and `language` are written by the completer, and so
    are `pausing` (it waits for a newer keystroke, and has started nothing) and `paid` (it counts
    towards its caller's rate already). `model` and `variants`, of flags, are what was decided about
    it (`server.model_choice`); `!` before a flag marks a user's override. `blank`, until something
    was said, `fingerprints` of what may be accepted, with lengths, and `landing`, the fingerprint
    of where it stands, are what telemetry goes by.
    """

    request_id: str
    protocol: str
    alias: str | None = None
    session: str | None = None
    deadline_s: float | None = None
    caller: Caller = field(default_factory=Caller)
    wishes: Wishes = field(default_factory=Wishes)
    tokens: int = 0
    source: Source = Source.ENGINE
    language: str = OTHER_LANGUAGE
    model: str = ""
    variants: dict[str, str] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    blank: bool = True
    fingerprints: dict[int, int] = field(default_factory=dict)
    landing: int | None = None
    pausing: bool = False
    paid: bool = False
    started_at: float = field(default_factory=time.perf_counter)
    first_token_at: float | None = None
    reason: EndReason | None = None
    done: bool = False
    _older: Running | None = None
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def shown_id(self) -> str:
        """The id that the client knows it by: its own if it gave one."""
        return self.alias or self.request_id

    @property
    def admitted_at(self) -> float | None:
        """When it first got a slot of its own; None where it never needed one."""
        spans = [timing.spans.get(Stage.ADMISSION) for timing in self.timings]
        return min((span.end for span in spans if span), default=None)

    def supersede(self) -> None:
        """End the older request of this session, once what it still generates has been joined."""
        older, self._older = self._older, None
        if older is not None:
            older.end(EndReason.SUPERSEDED)

    def end(self, reason: EndReason) -> None:
        """Cancel everything this request runs; the first reason counts, and none after the work."""
        if self.reason is None and not self.done:
            self.reason = reason
            self._scope.cancel()


class Inflight:
    """All requests that are running now."""

    def __init__(self, on_end: Callable[[EndReason, int], None]) -> None:
        """Report every ended request to `on_end(reason, wasted_tokens)`."""
        self._on_end = on_end
        self._running: set[Running] = set()
        self._sessions: dict[tuple[str, str], Running] = {}  # by share and name
        self._empty = anyio.Event()
        self.draining = False

    def __len__(self) -> int:
        """Count the requests."""
        return len(self._running)

    async def run(
        self, running: Running, receive: Receive, work: Callable[[], Awaitable[None]]
    ) -> EndReason | None:
        """Do `work` until it is done or one of the reasons ends it; say which, None when done.

        `receive` must have delivered the whole body. Exceptions of `work` come out as they are.

        Raises:
            ShuttingDown: the gateway takes no new requests.
        """
        if self.draining:
            raise ShuttingDown("the gateway is shutting down; try again elsewhere or later")
        self._enter(running)
        reason: EndReason | None = (
            EndReason.SHUTDOWN
        )  # if the task itself is cancelled from outside
        try:
            await _watched(running, receive, work)
            reason = None if running.done else running.reason or EndReason.DEADLINE
        except Exception:
            reason = None
            raise
        finally:
            self._leave(running)
            if reason is not None:
                self._on_end(reason, running.tokens)
        return reason

    def find(self, request_id: str) -> list[Running]:
        """The running requests with this id, ours or the client's."""
        return [r for r in self._running if request_id in (r.request_id, r.alias)]

    def cancel(self, request_id: str, caller: Caller) -> int:
        """End the requests with this id that are the caller's, or anybody's for an administrator;
        return how many there were."""
        found = self.find(request_id)
        if KeyScope.ADMIN not in caller.scopes:
            found = [running for running in found if running.caller.owner == caller.owner]
        for running in found:
            running.end(EndReason.REQUESTED)
        return len(found)

    async def drain(self, limit_s: float) -> None:
        """Take no new requests, let the running ones finish within `limit_s`, end the rest."""
        self.draining = True
        with anyio.move_on_after(limit_s):
            await self._until_empty()
        for running in tuple(self._running):
            running.end(EndReason.SHUTDOWN)
        with anyio.move_on_after(2):  # the time their answers need to leave
            await self._until_empty()

    async def _until_empty(self) -> None:
        while self._running:
            self._empty = anyio.Event()
            await self._empty.wait()

    def _enter(self, running: Running) -> None:
        self._running.add(running)
        if running.session is None:
            return
        place = (running.caller.share, running.session)
        older = running._older = self._sessions.get(place)
        self._sessions[place] = running
        if older is not None and older.pausing:
            # It has started nothing that could be joined, but what it came to join may be.
            running._older, older._older = older._older, None
            older.end(EndReason.SUPERSEDED)

    def _leave(self, running: Running) -> None:
        running.supersede()
        self._running.discard(running)
        if running.session is not None:
            place = (running.caller.share, running.session)
            if self._sessions.get(place) is running:
                del self._sessions[place]
        if not self._running:
            self._empty.set()


async def _watched(running: Running, receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    try:
        async with anyio.create_task_group() as tasks:
            running._scope = tasks.cancel_scope
            if running.deadline_s is not None:
                running._scope.deadline = anyio.current_time() + running.deadline_s
            tasks.start_soon(_watch, running, receive)
            await work()
            running.done = running.reason is None
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:
        if len(group.exceptions) == 1:  # the watcher never raises, so this is what `work` raised
            raise group.exceptions[0] from None
        raise


async def _watch(running: Running, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            running.end(EndReason.DISCONNECT)
            return
