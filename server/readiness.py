"""Whether the gateway can answer a completion: the engine generates, and nothing is draining.

However many ask, the engine is asked once a second. While it is busy for others, their tokens are
the proof, so a probe under load neither waits for a slot nor calls a busy gateway broken.
"""

from __future__ import annotations

import time

import anyio

from server.inflight import Inflight
from tabwright.engine import CompletionEngine
from tabwright.errors import TabwrightError

_LIMIT_S = 5.0
_FRESH_S = 1.0  # an answer is good for so long
_LOOK_S = 0.25


class Readiness:
    """Whether completions are answered now."""

    def __init__(self, engine: CompletionEngine, inflight: Inflight) -> None:
        """Ask `engine`, and `inflight` whether the gateway drains."""
        self._engine = engine
        self._inflight = inflight
        self._asking = anyio.Lock()
        self._asked_at = -_FRESH_S
        self._fault: str | None = None

    async def fault(self) -> str | None:
        """Say why a completion would not be answered, or None when it would."""
        if self._inflight.draining:
            return "draining"
        async with self._asking:
            if time.monotonic() - self._asked_at >= _FRESH_S:
                self._fault = await self._ask()
                self._asked_at = time.monotonic()
            return self._fault

    async def _ask(self) -> str | None:
        """Have one token generated, or see that others get theirs while this waits in line."""
        fault: str | None = f"the engine did not answer within {_LIMIT_S:g} s"
        before = self._engine.stats().generated_tokens

        async def busy(scope: anyio.CancelScope) -> None:
            nonlocal fault
            while True:
                await anyio.sleep(_LOOK_S)
                if self._engine.stats().generated_tokens > before:
                    fault = None
                    scope.cancel()

        with anyio.move_on_after(_LIMIT_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(busy, tasks.cancel_scope)
                try:
                    await self._engine.check()
                    fault = None
                except TabwrightError as error:
                    fault = str(error)
                tasks.cancel_scope.cancel()
        return fault
