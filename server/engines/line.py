"""Slots, key-value blocks and the bounded waiting line in front of them.

A ticket is one request: it waits, runs, and leaves exactly once. Requests start in the order they
came; one that needs more blocks than are free holds back those behind it, so that it cannot starve.
Everything here is synchronous and called from the event loop only: joining and leaving never wait,
which is what lets a cancelled scope free its slot. What a started request does is the engine's.
Read `Line.join` first.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum

import anyio

from tabwright.engine import Tokens
from tabwright.errors import EngineOverloaded, TabwrightError
from tabwright.request import Finish, Ranking, SamplingParams, ScoredPrompt

BLOCK_TOKENS = 32  # OpenVINO's key-value block on the CPU
_numbers = itertools.count(1)


def blocks_for(tokens: int) -> int:
    """Blocks that hold so many tokens, with one spare for a block being shared while it fills."""
    return -(-tokens // BLOCK_TOKENS) + 1


class State(Enum):
    """Where a ticket stands."""

    WAITING = "waiting"
    RUNNING = "running"
    LEFT = "left"


class Ticket:
    """One request and what has been generated for it but not been read yet."""

    def __init__(self, prompt: Sequence[int], sampling: SamplingParams, granted: int) -> None:
        """Hold a checked request that may generate `granted` tokens."""
        self.number = next(_numbers)
        self.prompt = prompt
        self.sampling = sampling
        self.granted = granted
        self.blocks = blocks_for(len(prompt) + granted)
        self.state = State.WAITING
        self.queued_s = 0.0
        self._joined_at = time.perf_counter()
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._alternatives: list[Ranking] = []
        self._scores: ScoredPrompt | None = None
        self._finish: Finish | None = None
        self._error: TabwrightError | None = None
        self._news: anyio.Event | None = None
        self._ended = False

    def begin(self) -> None:
        """Leave the line and run."""
        self.state = State.RUNNING
        self.queued_s = time.perf_counter() - self._joined_at

    def push(self, new: Tokens) -> None:
        """Hand new tokens to the reader."""
        self._ids.extend(new.ids)
        self._logprobs.extend(new.logprobs)
        self._alternatives.extend(new.alternatives)
        self._scores = new.prompt or self._scores
        self._finish = new.finish
        self.wake()

    def abandon(self) -> None:
        """End the stream without an answer: its reader has left."""
        self._ended = True
        self.wake()

    @property
    def abandoned(self) -> bool:
        """Whether nobody reads any more."""
        return self._ended

    def fail(self, error: TabwrightError) -> None:
        """End the stream with an error, after what has been generated."""
        self._error = error
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        if self._news is not None:
            self._news.set()
            self._news = None

    def raise_failure(self) -> None:
        """Raise what `fail` was given, if it was."""
        if self._error is not None:
            raise self._error.with_traceback(None)  # several tickets may share it

    async def wait(self) -> None:
        """Sleep until somebody wakes this ticket."""
        self._news = anyio.Event()
        await self._news.wait()

    def __aiter__(self) -> Ticket:
        return self

    async def __anext__(self) -> Tokens:
        while not (self._ended or self._ids or self._finish or self._error):
            await self.wait()
        if self._ended:
            raise StopAsyncIteration
        if not self._ids and self._finish is None:
            self.raise_failure()
        # A reader that is slower than the model gets several tokens at once.
        tokens = Tokens(
            tuple(self._ids),
            tuple(self._logprobs),
            self._finish,
            tuple(self._alternatives),
            self._scores,
            self.queued_s,
        )
        self._ended = self._finish is not None
        self._ids, self._logprobs, self._alternatives, self._scores = [], [], [], None
        return tokens


class Line:
    """Who runs and who waits.

    slots: requests that run at once. blocks: key-value blocks they share. waiting: places in the
    line. start: called, without waiting, for each ticket that begins to run.
    """

    def __init__(
        self, *, slots: int, waiting: int, blocks: int, start: Callable[[Ticket], None]
    ) -> None:
        """Open an empty line; it starts nobody before `open` is True."""
        self.slots = slots
        self.places = waiting
        self.blocks = blocks
        self.blocks_used = 0
        self.open = False
        self.running: dict[int, Ticket] = {}
        self.waiting: deque[Ticket] = deque()
        self._start = start

    def join(self, ticket: Ticket) -> None:
        """Start the ticket or give it a place in the line.

        Raises:
            EngineOverloaded: neither a slot nor a place is free.
        """
        if len(self.waiting) >= self.places and not (not self.waiting and self._fits(ticket)):
            raise EngineOverloaded(
                f"{len(self.running)} requests are running and {len(self.waiting)} waiting"
            )
        self.waiting.append(ticket)
        self.advance()

    def leave(self, ticket: Ticket) -> None:
        """Free whatever the ticket holds; harmless when it left before."""
        if ticket.state is State.WAITING:
            self.waiting.remove(ticket)
        elif ticket.state is State.RUNNING:
            del self.running[ticket.number]
            self.blocks_used -= ticket.blocks
        ticket.state = State.LEFT
        self.advance()

    def advance(self) -> None:
        """Start those at the head of the line who fit."""
        while self.waiting and self._fits(self.waiting[0]):
            ticket = self.waiting.popleft()
            ticket.begin()
            self.running[ticket.number] = ticket
            self.blocks_used += ticket.blocks
            self._start(ticket)

    def _fits(self, ticket: Ticket) -> bool:
        return (
            self.open
            and len(self.running) < self.slots
            and self.blocks_used + ticket.blocks <= self.blocks
        )
