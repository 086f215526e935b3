"""Keeps checkers, the sandboxed programs that hold tests, from one sample to the next.

All that a checker ever sees of a sample are plain values, and the tests' namespace is new for each,
so none feels the one before; and no sandbox has to be built. One that ends, says that it was
stretched, or is left in the middle of a sample, is not used again. Read `Checkers.lend` first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup, TaskStatus

from evalkit.execution import Command, Limits
from evalkit.sandbox.seam import Conversation, Sandbox, SandboxFailed

# A checker's whole life: far more than its samples take, and one sample may have all of it.
_LIMITS = Limits(cpu_s=30.0, wall_s=600.0)
_SAMPLES = 500


@dataclass(slots=True)
class Checker:
    """One checker. samples: how many it has been lent for, this one included."""

    talk: Conversation
    samples: int = 0
    reusable: bool = False
    left: anyio.Event = field(default_factory=anyio.Event)


class Checkers:
    """Starts checkers and lends them."""

    def __init__(self, sandbox: Sandbox, command: Command, tasks: TaskGroup) -> None:
        """Keep checkers, which run `command`, in `tasks`, until those are cancelled."""
        self._sandbox = sandbox
        self._command = command
        self._tasks = tasks
        self._idle: list[Checker] = []

    @asynccontextmanager
    async def lend(self, *, fresh: bool = False) -> AsyncIterator[Checker]:
        """Lend a checker for one sample; it comes back only when it is marked as reusable.

        Raises:
            SandboxFailed: none could be started.
        """
        if self._idle and not fresh:
            checker = self._idle.pop()
        else:
            checker = await self._tasks.start(self._keep)
        checker.samples += 1
        checker.reusable = False
        try:
            yield checker
        finally:
            if checker.reusable and checker.samples < _SAMPLES:
                self._idle.append(checker)
            else:
                checker.left.set()

    async def _keep(self, *, task_status: TaskStatus[Checker]) -> None:
        """Hold one checker's sandbox open: who opens it has to close it."""
        checker = None
        try:
            async with self._sandbox.talk(self._command, _LIMITS) as conversation:
                checker = Checker(conversation)
                task_status.started(checker)
                await checker.left.wait()
        except SandboxFailed:
            # Later than that, whoever has it finds that it ended.
            if checker is None:
                raise
