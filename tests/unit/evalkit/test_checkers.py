"""Checkers are lent for one sample after the other, and never after one that broke them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from evalkit.checkers import Checkers
from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.sandbox.seam import Conversation, SandboxFailed

pytestmark = pytest.mark.anyio


@dataclass
class OneTalk:
    """A conversation in which nothing is said."""

    number: int

    async def ask(self, message: bytes, reply_limit: int = 1 << 20) -> bytes | None:
        raise AssertionError(f"nobody asks {message!r} for {reply_limit} bytes")

    async def send(self, content: bytes) -> None:
        raise AssertionError(f"nobody sends {content!r}")

    async def until(self, mark: bytes, limit: int = 1 << 20) -> bytes | None:
        raise AssertionError(f"nobody reads {limit} bytes up to {mark!r}")

    async def end(self) -> Ran:
        return Ran(Ending.EXIT, 0, None, b"", b"", 0.0, 0.0)


@dataclass
class Room:
    """Counts the conversations that were opened and that are open; the rest is not there."""

    opened: int = 0
    open: set[int] = field(default_factory=set)
    broken: bool = False
    name: str = "room"
    brings_toolchains: bool = False

    async def run(self, command: Command, limits: Limits) -> Ran:
        raise AssertionError(f"nobody runs {command} within {limits}")

    @asynccontextmanager
    async def talk(self, command: Command, limits: Limits) -> AsyncIterator[Conversation]:
        assert command.argv == ("true",)
        assert limits.cpu_s > 0
        if self.broken:
            raise SandboxFailed("no room")
        self.opened += 1
        number = self.opened
        self.open.add(number)
        try:
            yield OneTalk(number)
        finally:
            self.open.remove(number)

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def checkers_in(room: Room) -> AsyncIterator[Checkers]:
    async with anyio.create_task_group() as tasks:
        yield Checkers(room, Command(("true",)), tasks)
        tasks.cancel_scope.cancel()


async def test_a_checker_that_finished_a_sample_gets_the_next_one() -> None:
    room = Room()
    async with checkers_in(room) as checkers:
        for turn in range(1, 4):
            async with checkers.lend() as checker:
                assert checker.samples == turn
                checker.reusable = True
        assert room.opened == 1
    assert room.open == set()


async def test_a_checker_left_in_the_middle_of_a_sample_is_closed() -> None:
    room = Room()
    async with checkers_in(room) as checkers:
        async with checkers.lend():
            pass
        async with checkers.lend() as checker:
            assert checker.samples == 1
            await anyio.wait_all_tasks_blocked()
            assert room.open == {2}


async def test_a_fresh_one_is_new_although_another_is_idle() -> None:
    room = Room()
    async with checkers_in(room) as checkers:
        async with checkers.lend() as checker:
            checker.reusable = True
        async with checkers.lend(fresh=True) as checker:
            assert checker.samples == 1
        assert room.opened == 2


async def test_a_sandbox_that_cannot_start_one_tells_who_asked_and_nobody_else() -> None:
    room = Room(broken=True)
    async with checkers_in(room) as checkers:
        with pytest.raises(SandboxFailed):
            async with checkers.lend():
                pass
        room.broken = False
        async with checkers.lend() as checker:
            assert checker.samples == 1
