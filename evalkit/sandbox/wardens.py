"""The pool of wardens: started when one more program runs at once, kept for the next.

Read `Wardens.start` first.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread

from evalkit.execution import Command
from evalkit.sandbox import orders
from evalkit.sandbox.orders import Answer, Order, Setup
from evalkit.sandbox.seam import SandboxFailed
from evalkit.sandbox.streams import Reader, Writer

_ROOT = Path(__file__).resolve().parent.parent.parent
# Not -I: it would make the hash seed, and so the order of sets, differ from warden to warden.
_FLAGS = ("-s", "-S", "-P", "-B")
_PROGRAM = "import sys; sys.path.append({root!r}); from evalkit.sandbox.warden import main; main()"


class Job:
    """One running command: its streams, and the way to stop it and to hear of its end."""

    def __init__(self, warden: _Warden, stdin: Writer, stdout: Reader, stderr: Reader) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._warden = warden
        self._answer: tuple[Answer, int | None] | None = None

    def stop(self) -> None:
        """Kill what is left of it."""
        self._tell(b"stop")

    def stop_for_output(self) -> None:
        """Kill it because it writes too much."""
        self._tell(b"output")

    async def answer(self) -> tuple[Answer, int | None]:
        """Wait for its end; return what was seen and, where asked for, its working folder."""
        if self._answer is None:
            self._answer = await self._warden.answer()
        return self._answer

    @property
    def answered(self) -> bool:
        """Whether all of it is known to be dead."""
        return self._answer is not None

    def _tell(self, word: bytes) -> None:
        if self._answer is None:
            with contextlib.suppress(OSError):
                self._warden.channel.send(word)


class Wardens:
    """Starts commands, each by a warden that does nothing else meanwhile."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._idle: list[_Warden] = []

    @contextlib.asynccontextmanager
    async def start(self, command: Command, order: Order) -> AsyncIterator[Job]:
        """Run a command inside the block; leaving the block ends it, at once if it still runs."""
        if self._idle:
            warden = self._idle.pop()
        else:
            warden = await anyio.to_thread.run_sync(_Warden, self._setup)
        job = None
        try:
            with _streams() as (theirs, stdin, stdout, stderr):
                given = theirs if order.prepared else (*theirs, orders.pack(command))
                try:
                    orders.send(warden.channel, order, given)
                finally:
                    for descriptor in given:
                        os.close(descriptor)
                job = Job(warden, stdin, stdout, stderr)
                yield job
        except OSError as error:
            raise SandboxFailed(f"the sandbox's warden: {error}") from error
        finally:
            if job is not None and job.answered and not warden.ended:
                self._idle.append(warden)
            else:
                with anyio.CancelScope(shield=True):
                    await warden.aclose()

    async def aclose(self) -> None:
        """End all wardens, and with them whatever they run."""
        while self._idle:
            await self._idle.pop().aclose()


class _Warden:
    """A warden's process and the channel to it."""

    def __init__(self, setup: Setup) -> None:
        self.ended = False
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [
                    os.path.realpath(sys.executable),
                    *_FLAGS,
                    "-c",
                    _PROGRAM.format(root=str(_ROOT)),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # Every sandbox would look up anew what of the C library it calls.
                env={"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"},
                cwd="/",
                start_new_session=True,
            )
        orders.send(self.channel, setup)

    async def answer(self) -> tuple[Answer, int | None]:
        """Wait for the answer to the order that was sent."""
        while True:
            try:
                fields, folders = orders.receive(self.channel)
                break
            except BlockingIOError:
                await anyio.wait_readable(self.channel)
            except ConnectionError:
                fields, folders = None, []
                break
        if fields is None:
            self.ended = True
            return Answer(broken="the sandbox's warden ended unexpectedly"), None
        return Answer(**fields), (folders[0] if folders else None)

    async def aclose(self) -> None:
        """End it; what it runs is dead when this returns."""
        self.channel.close()
        await anyio.to_thread.run_sync(self._process.wait)


@contextlib.contextmanager
def _streams() -> Iterator[tuple[tuple[int, int, int], Writer, Reader, Reader]]:
    """Make the pipes of a command: its ends, which the caller closes, and ours."""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    stdin, stdout, stderr = Writer(in_write), Reader(out_read), Reader(err_read)
    try:
        yield (in_read, out_write, err_write), stdin, stdout, stderr
    finally:
        for stream in (stdin, stdout, stderr):
            stream.close()
