"""The seam: what every sandbox can do, and what it raises when it cannot."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from evalkit.execution import Command, Limits, Ran
from tabwright.errors import Broken, Unavailable


class SandboxUnavailable(Unavailable):
    """Programs cannot be isolated on this machine; the message says what to enable."""


class SandboxFailed(Broken):
    """The sandbox broke while a program ran; nothing is known about the program."""


class Conversation(Protocol):
    """A running command that is spoken to, message by message."""

    async def ask(self, message: bytes, reply_limit: int = 1 << 20) -> bytes | None:
        """Send one message (its length as four bytes, big-endian, then the bytes) to the command's
        stdin and read one of the same form from its stdout; None when the command ended instead,
        broke the form, or a limit was reached."""

    async def send(self, content: bytes) -> None:
        """Send bytes as they are to the command's stdin, for one that has a form of its own."""

    async def until(self, mark: bytes, limit: int = 1 << 20) -> bytes | None:
        """Read the command's stdout up to `mark`, which is left out; may be given up and called
        again. None when the command ended, or wrote more than `limit` without it."""

    async def end(self) -> Ran:
        """Kill whatever is left of it and say what was seen; stdout is empty. A command that still
        ran ends with signal 9."""


class Sandbox(Protocol):
    """Runs commands that nobody trusts, each in isolation of its own.

    Raises `SandboxUnavailable` when it is opened where it cannot work.
    """

    @property
    def name(self) -> str:
        """The name in the table."""

    @property
    def brings_toolchains(self) -> bool:
        """Whether languages come with it, in images, and need not be on this machine."""

    async def run(self, command: Command, limits: Limits) -> Ran:
        """Run one command to its end. Never raises for what the command did.

        Raises:
            SandboxFailed: the sandbox itself broke.
        """

    def talk(self, command: Command, limits: Limits) -> AbstractAsyncContextManager[Conversation]:
        """Start one command and speak to it inside the block; leaving kills everything of it."""

    async def aclose(self) -> None:
        """Give back everything that is held."""
