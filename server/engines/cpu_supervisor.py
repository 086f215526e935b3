"""Keeps one worker process alive after another, and reports to the engine that keeps the books.

A worker that dies, or is silent for too long while it owes answers, is replaced at once. One that
never becomes ready is tried a few times and then given up. What the worker says is none of this
file's business, but for the first word. Read `Supervisor.run` first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import anyio

from server.engines.cpu_messages import Message, Ready, Start, StartFailed
from server.engines.cpu_process import WorkerProcess
from tabwright.errors import (
    ConfigError,
    CorruptArtifact,
    EngineUnavailable,
    MissingExtra,
    TabwrightError,
)

_PATIENCE = 3  # deaths in a row before becoming ready
_log = logging.getLogger(__name__)


class Books(Protocol):
    """Whoever must know how the worker is."""

    @property
    def busy(self) -> bool:
        """The worker owes somebody an answer."""

    def hear(self, worker: WorkerProcess, messages: Sequence[Message]) -> None:
        """The worker said something."""

    def died(self) -> None:
        """The worker is gone; another may follow."""

    def give_up(self, error: TabwrightError) -> None:
        """The worker is gone and none will follow."""


class Supervisor:
    """The worker of the moment."""

    def __init__(self, start: Start, stall_timeout_s: float, books: Books) -> None:
        """Prepare; `run` does the work."""
        self._start = start
        self._stall_timeout_s = stall_timeout_s
        self._books = books
        self._scope = anyio.CancelScope()
        self._lives = 0
        self._given_up = False
        self._last_words: TabwrightError = EngineUnavailable("the worker dies before it is ready")
        self.ended = anyio.Event()

    @property
    def restarts(self) -> int:
        """Workers started after the first."""
        return max(0, self._lives - 1)

    def stop(self) -> None:
        """End the worker; `ended` is set when it is gone."""
        self._scope.cancel()

    async def run(self) -> None:
        """Live through one worker after another, until stopped or given up."""
        deaths = 0
        with self._scope:
            while not self._given_up:
                self._lives += 1
                was_ready = await self._live()
                deaths = 0 if was_ready else deaths + 1
                if deaths >= _PATIENCE:
                    self._give_up(self._last_words)
        self.ended.set()

    async def _live(self) -> bool:
        """Run one worker from birth to death; return whether it ever became ready."""
        worker = WorkerProcess.spawn()
        try:
            worker.send(self._start)
            async with anyio.create_task_group() as group:
                group.start_soon(worker.write_outbox)
                was_ready = await self._listen(worker)
                group.cancel_scope.cancel()
        finally:
            self._books.died()
            with anyio.CancelScope(shield=True):
                await worker.reap()
        facts = {"pid": worker.pid, "exit_code": worker.exit_code, "life": self._lives}
        _log.error("engine worker died", extra=facts)
        return was_ready

    async def _listen(self, worker: WorkerProcess) -> bool:
        ready = False
        while True:
            messages: list[Message] | None = None
            with anyio.move_on_after(self._stall_timeout_s):
                messages = await worker.receive()
            if messages is None and ready and self._books.busy:
                _log.error("engine worker is silent, replacing it", extra={"pid": worker.pid})
                return ready
            if messages is None:
                continue
            if not messages:
                return ready
            if not ready:
                ready = self._first_word(worker, messages[0])
            self._books.hear(worker, messages)

    def _first_word(self, worker: WorkerProcess, word: Message) -> bool:
        if isinstance(word, Ready):
            facts = {
                "pid": worker.pid,
                "convert_s": round(word.convert_s, 2),
                "load_s": round(word.load_s, 2),
                "kv_cache_mb": round(word.kv_cache_mb, 1),
            }
            _log.info("engine worker ready", extra=facts)
            return True
        if isinstance(word, StartFailed):
            self._last_words = _start_error(word)
            if not self._last_words.retryable:
                self._give_up(self._last_words)
        return False

    def _give_up(self, error: TabwrightError) -> None:
        self._given_up = True
        self._books.give_up(error)


def _start_error(message: StartFailed) -> TabwrightError:
    if message.kind == "config":
        return ConfigError(message.message)
    if message.kind == "corrupt":
        return CorruptArtifact(message.message)
    if message.kind == "missing":
        return MissingExtra(message.message, "cpu")
    return EngineUnavailable(f"the model cannot be loaded: {message.message}")
