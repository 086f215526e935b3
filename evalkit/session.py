"""Opens what a command judges with: a sandbox by name, and the judge on top of it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from evalkit.judge import open_judge
from evalkit.problem import Judge
from evalkit.sandbox import SANDBOXES
from evalkit.sandbox.mounts import Toolchain
from evalkit.sandbox.seam import Sandbox
from evalkit.toolchains import sandbox_toolchains


@asynccontextmanager
async def open_sandbox(name: str) -> AsyncIterator[Sandbox]:
    """Open a sandbox by its name in the table.

    Raises:
        SandboxUnavailable: programs cannot be isolated so on this machine.
    """
    module, _, attribute = SANDBOXES[name].partition(":")
    opener: Callable[[Mapping[str, Toolchain]], Awaitable[Sandbox]] = getattr(
        importlib.import_module(module), attribute
    )
    sandbox = await opener(sandbox_toolchains())
    try:
        yield sandbox
    finally:
        await sandbox.aclose()


@asynccontextmanager
async def judging_in(name: str, places: int = 1) -> AsyncIterator[Judge]:
    """Open a sandbox and the judge that uses it. It opens places as they are asked for."""
    del places
    async with open_sandbox(name) as sandbox, open_judge(sandbox) as judge:
        yield judge
