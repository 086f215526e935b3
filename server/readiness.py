"""Whether the gateway can answer a completion: the engine generates, and nothing is draining.

However many ask, an engine is asked once a second. While it is busy for others, their tokens are
the proof, so a probe under load neither waits for a slot nor calls a busy gateway broken. The
default model decides; the others are told beside it: a candidate that is broken in all gateways
must not take all of them from behind their proxy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import anyio

from server.inflight import Inflight
from tabwright.engine import CompletionEngine
from tabwright.errors import TabwrightError

_LIMIT_S = 5.0
_FRESH_S = 1.0  # an answer is good for so long
_LOOK_S = 0.25


class Readiness:
    """Whether completions are answered now."""

    def __init__(self, engines: Mapping[str, CompletionEngine], inflight: Inflight) -> None:
        """Ask `engines`, the default model's first, and `inflight` whether the gateway drains."""
        self._probes = {name: _Probe(engine) for name, engine in engines.items()}
        self._inflight = inflight

    async def fault(self) -> str | None:
        """Say why a completion would not be answered, or None when it would."""
        if self._inflight.draining:
            return "draining"
        return await next(iter(self._probes.values())).fault()

    async def models(self) -> Mapping[str, str | None]:
        """Say the same of each model."""
        found: dict[str, str | None] = dict.fromkeys(self._probes)

        async def ask(name: str) -> None:
            found[name] = await self._probes[name].fault()

        async with anyio.create_task_group() as tasks:
            for name in self._probes:
                tasks.start_soon(ask, name)
        return found


class _Probe:
    """Asks one engine."""

    def __init__(self, engine: CompletionEngine) -> None:
        self._engine = engine
        self._asking = anyio.Lock()
        self._asked_at = -_FRESH_S
        self._fault: str | None = None

    async def fault(self) -> str | None:
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
