"""A program's standard streams, seen from evalkit: bounded reads, and writes it may refuse."""

from __future__ import annotations

import os
from collections.abc import Callable

import anyio

_CHUNK = 1 << 16
# How many times what is kept a program may write before it is ended.
PATIENCE = 4


class Reader:
    """The reading end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._pending = bytearray()

    async def some(self) -> bytes:
        """Read what is there, waiting for at least a byte; nothing at the end."""
        while True:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._descriptor)

    async def exactly(self, size: int) -> bytes | None:
        """Read so many bytes; None when the stream ends before."""
        while len(self._pending) < size:
            piece = await self.some()
            if not piece:
                return None
            self._pending += piece
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        return taken

    async def until(self, mark: bytes, limit: int) -> bytes | None:
        """Read up to a mark, which is taken away too; None at the end, or beyond the limit.

        Cancelled, it loses nothing.
        """
        seen = 0
        while (place := self._pending.find(mark, max(0, seen - len(mark)))) < 0:
            seen = len(self._pending)
            piece = await self.some() if seen <= limit else b""
            if not piece:
                return None
            self._pending += piece
        taken = bytes(self._pending[:place])
        del self._pending[: place + len(mark)]
        return taken

    def close(self) -> None:
        """Close it; twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Writer:
    """The writing end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def all(self, content: bytes) -> bool:
        """Write it all; say whether the other side took it."""
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._descriptor)
            except BrokenPipeError:
                return False
        return True

    def close(self) -> None:
        """Close it; twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class CappedReader:
    """Keeps the first bytes of a stream and counts the rest."""

    def __init__(self, reader: Reader, limit: int) -> None:
        self.kept = bytearray()
        self._reader = reader
        self._limit = limit

    async def read_all(self, too_much: Callable[[], None]) -> None:
        """Read to the end; call `too_much` once when the program writes far more than is kept."""
        seen = 0
        while piece := await self._reader.some():
            seen += len(piece)
            self.kept += piece[: max(0, self._limit - len(self.kept))]
            if seen > PATIENCE * self._limit:
                too_much()
                return


async def feed(writer: Writer, content: bytes, *, close: bool = True) -> None:
    """Write a program's input; it may end, or close its stdin, without having read it."""
    await writer.all(content)
    if close:
        writer.close()
