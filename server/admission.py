"""Who may start a completion now: the API key, and bounded concurrency with a bounded waiting line.

When every slot and every place in line is taken, the caller hears so at once instead of waiting for
an answer that nobody will read. A request that leaves the line (cancelled) leaves no trace. The
engine keeps its own count of KV blocks; this file knows nothing of them.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from tabwright.errors import CallerError, EngineOverloaded


class Unauthorized(CallerError):
    """The API key is missing or wrong."""


def check_key(authorization: str | None, key: str | None) -> None:
    """Compare an `Authorization` header with the gateway's key; without a key everyone may enter.

    Raises:
        Unauthorized: the header is missing or carries another key.
    """
    if not key:
        return
    scheme, _, given = (authorization or "").partition(" ")
    # Compared as bytes: compare_digest refuses non-ASCII text, and headers arrive as latin-1.
    same = hmac.compare_digest(given.strip().encode(), key.encode())
    if scheme.lower() != "bearer" or not same:
        raise Unauthorized("the API key is missing or wrong; send 'Authorization: Bearer <key>'")


class Admission:
    """At most `max_running` completions at a time and `max_waiting` in line, in order."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        """Open the gate with all slots free."""
        self._slots = anyio.Semaphore(max_running, fast_acquire=True)
        self._max_waiting = max_waiting
        self.running = 0
        self.waiting = 0

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self.running == self.waiting == 0

    @asynccontextmanager
    async def permit(self, share: str = "", *, patient: bool = False) -> AsyncIterator[None]:
        """Hold one slot for the length of the block; wait in line for it if there is room.

        share: whose it is (`Caller.share`).
        patient: for the second and later choices of a request that is already inside, which may
        always wait; how many there are is bounded by the request.

        Raises:
            EngineOverloaded: no slot is free and the line is full.
        """
        del share
        if self._slots.value == 0 and not patient and self.waiting >= self._max_waiting:
            raise EngineOverloaded(
                f"{self.running} completions are running and {self.waiting} are waiting; "
                "try again shortly"
            )
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()
