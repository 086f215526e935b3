"""The worker process, seen from the gateway: spawn it, talk to it, be sure that it is gone.

Sending never waits: what the socket does not take at once goes to an outbox that a task of the
engine empties. What the messages mean is `cpu.py`'s. Read `WorkerProcess.spawn` first.
"""

from __future__ import annotations

import socket
import subprocess
import sys

import anyio
import anyio.to_thread

from server.child import child_environment
from server.engines.cpu_messages import Inbox, Message, encode

_READ_BYTES = 1 << 18


class WorkerProcess:
    """A running worker and our end of the socket pair."""

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket) -> None:
        """Use `spawn`."""
        self._process = process
        self._end = end
        self._inbox = Inbox()
        self._outbox = bytearray()
        self._backlog = anyio.Event()

    @classmethod
    def spawn(cls) -> WorkerProcess:
        """Start the process; it waits for its Start message."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                # -P: the folder the gateway was started in may have a package `server` of its own.
                [sys.executable, "-P", "-m", "server.engines.cpu_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment(),
                # Ctrl-C in a terminal reaches the whole group; the gateway drains first.
                start_new_session=True,
            )
        ours.setblocking(False)
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None until it has been reaped."""
        return self._process.returncode

    def send(self, message: Message) -> None:
        """Say something, without waiting. To a dead worker nothing is said."""
        self._outbox += encode(message)
        self._flush()
        if self._outbox:
            self._backlog.set()

    async def receive(self) -> list[Message]:
        """Wait for something to be said; return nothing only when the worker is dead."""
        while True:
            await anyio.wait_readable(self._end)
            try:
                data = self._end.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except ConnectionError:
                return []
            if not data:
                return []
            if messages := self._inbox.feed(data):
                return messages

    async def write_outbox(self) -> None:
        """Send what did not fit into the socket when it was said; runs for the worker's life."""
        while True:
            await self._backlog.wait()
            while self._outbox:
                await anyio.wait_writable(self._end)
                self._flush()
            self._backlog = anyio.Event()

    def kill(self) -> None:
        """End it now. It has nothing to save."""
        self._process.kill()

    async def reap(self) -> None:
        """Kill it and wait until it is gone; must run shielded."""
        self._process.kill()
        self._end.close()
        await anyio.to_thread.run_sync(self._process.wait)

    def _flush(self) -> None:
        try:
            while self._outbox:
                sent = self._end.send(self._outbox)
                del self._outbox[:sent]
        except BlockingIOError:
            return
        except OSError:  # it died; whoever listens will notice
            self._outbox.clear()
