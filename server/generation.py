"""One engine stream whose answer several requests may listen to.

It runs in a task of its own, so the request that started it may leave while others stay. When the
last listener leaves before the end, the stream is cancelled, which frees the engine's slot. The
last one to leave also answers for the tokens: each token is counted once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace

import anyio

from server.inflight import Running
from server.timing import Timing
from tabwright.request import Finish, Suggestion

Pieces = AbstractAsyncContextManager[AsyncIterator[Suggestion]]


class Generation:
    """The text of one answer, as far as it is known, and who waits for more."""

    def __init__(self) -> None:
        """Start without text and without listeners."""
        self.text = ""
        self.finish: Finish | None = None
        self.tokens = 0
        self.first_token_at: float | None = None
        self.timings: list[Timing] = []
        self.ended = False
        self.listened = False
        self._pieces: list[Suggestion] = []
        self._error: Exception | None = None
        self._listeners = 0
        self._news = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self, stream: Callable[[Generation], Pieces]) -> None:
        """Generate to the end. Whatever goes wrong is raised by every listener instead."""
        with self._scope:
            try:
                async with stream(self) as pieces:
                    async for piece in pieces:
                        self._push(piece)
            except Exception as error:  # noqa: BLE001  (handed to the listeners, who raise it)
                self._error = error
        self.ended = True
        self._tell()

    def stop(self) -> None:
        """Cancel the stream."""
        self._scope.cancel()

    @property
    def whole(self) -> bool:
        """Whether the answer came to its own end."""
        return self.finish is not None

    @contextmanager
    def listener(self, running: Running) -> Iterator[None]:
        """Be one of those who keep it alive for the length of the block."""
        self.listened = True
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1
            if self._listeners == 0:
                running.tokens += self.tokens
                self.tokens = 0
                if not self.whole:
                    self.stop()

    def answers(self, typed: str) -> bool:
        """Tell whether it is whole and goes on after `typed`."""
        known = self.whole and self.text.startswith(typed)
        return known and (not typed or bool(self.text[len(typed) :].strip()))

    async def covers(self, typed: str) -> bool:
        """Wait until the answer has more than `typed` at its start, or differs, or ends."""
        while True:
            if not (self.text.startswith(typed) or typed.startswith(self.text)):
                return False
            if self.whole:
                return self.answers(typed)
            if self.ended:
                return False
            if len(self.text) > len(typed):
                return self.text.startswith(typed)
            if not typed:
                return True
            await self._news.wait()

    async def pieces(self, running: Running, skip: int) -> AsyncGenerator[Suggestion, None]:
        """Yield the answer without its first `skip` characters, which the user has typed."""
        place = 0
        while True:
            while place < len(self._pieces):
                piece = self._pieces[place]
                place += 1
                if skip:
                    cut, skip = piece.text[skip:], max(0, skip - len(piece.text))
                    piece = replace(piece, text=cut, ids=(), logprobs=(), alternatives=())
                if running.first_token_at is None:
                    running.first_token_at = time.perf_counter()
                if piece.text or piece.finish:
                    yield piece
                if piece.finish:
                    return
            if self._error is not None:
                raise self._error
            await self._news.wait()

    def _push(self, piece: Suggestion) -> None:
        self._pieces.append(piece)
        self.text += piece.text
        self.finish = piece.finish
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()
