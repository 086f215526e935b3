"""One container from start to end: its streams over one socket, its limits, what was seen."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import time
from typing import Any

import anyio
import anyio.to_thread

from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.sandbox.docker_profile import engine_profile
from evalkit.sandbox.mounts import BOX
from evalkit.sandbox.streams import PATIENCE

_USER = 1000
_SHARED = 32
_STDOUT, _STDERR = 1, 2
_DAEMON_SOON_S = 10.0


def settings(command: Command, limits: Limits, runtime: str | None) -> dict[str, Any]:
    """Return how the engine has to make the container; all but the image and the command."""
    disk = f"rw,exec,nosuid,nodev,nr_inodes={limits.files},uid={_USER},gid={_USER}"
    ulimits = {"core": 0, "memlock": 0, "nofile": 1024, "fsize": limits.disk_mb << 20}
    ulimits["cpu"] = math.ceil(limits.cpu_s) + 1
    return {
        "user": f"{_USER}:{_USER}",
        "working_dir": BOX,
        "hostname": "sandbox",
        "environment": {"HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **command.env},
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {
            BOX: f"{disk},size={limits.disk_mb}m,mode=0755",
            "/tmp": f"{disk},size={limits.disk_mb}m,mode=1777",
            "/dev/shm": f"rw,nosuid,nodev,noexec,nr_inodes={_SHARED},size=1m,mode=1777",
        },
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={engine_profile()}"],
        "pids_limit": limits.processes + 2,
        "mem_limit": limits.memory_mb << 20,
        "memswap_limit": limits.memory_mb << 20,
        "ulimits": [{"Name": n, "Soft": v, "Hard": v} for n, v in ulimits.items()],
        "log_config": {"Type": "none"},
        "stdin_open": True,
        "runtime": runtime,
        "ipc_mode": "private",
    }


class Container:
    """A running command. Also the conversation with it."""

    def __init__(
        self, client: Any, given: dict[str, Any], limits: Limits, failure: type[Exception]
    ) -> None:
        began = time.monotonic()
        self._client = client
        # What the SDK raises for a container that has ended meanwhile.
        self._gone = (failure, OSError, KeyError)
        self._given = given
        self._limits = limits
        self._began = began
        self._ended = False
        self._kept = {_STDOUT: bytearray(), _STDERR: bytearray()}
        self._seen = {_STDOUT: 0, _STDERR: 0}
        self._reasons: set[Ending] = set()
        self._cpu_s = 0.0
        self._sampled = began
        self._ran: Ran | None = None
        self._container: Any = None
        self._socket: socket.socket | None = None
        # What of the engine's frames has arrived in part.
        self._frame = bytearray()

    def start(self) -> None:
        """Create, attach, start, in this order: what is written first must not be missed."""
        self._container = self._client.containers.create(**self._given)
        wish = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._attached = self._container.attach_socket(params=wish)
        self._socket = self._attached._sock
        self._socket.setblocking(False)
        self._container.start()
        self._began = self._sampled = time.monotonic()

    def remove(self) -> None:
        """Kill it and all that is left of it, whatever state it is in."""
        if self._socket is not None:
            # Closing the stream alone leaves the socket open until it is collected.
            self._attached.close()
            self._socket.close()
        if self._container is not None:
            self._container.remove(force=True, v=True)

    async def write(self, content: bytes) -> bool:
        """Write to its stdin; say whether it still takes it."""
        assert self._socket is not None
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError:
                return False
        return True

    async def feed(self, content: bytes) -> None:
        """Write its whole stdin and close it."""
        await self.write(content)
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def drain(self) -> None:
        """Read until it ends, or is ended."""
        while await self._read():
            pass

    async def sample(self, every_s: float) -> None:
        """Look at the clock and at its processor time until cancelled; kill it at a limit."""
        while not self._reasons:
            await anyio.sleep(every_s)
            with contextlib.suppress(Exception):
                await anyio.to_thread.run_sync(self._look)
            if self._cpu_s > self._limits.cpu_s:
                await self._kill(Ending.CPU_TIME)
            elif time.monotonic() - self._began > self._limits.wall_s:
                await self._kill(Ending.WALL_TIME)

    async def ask(self, message: bytes, reply_limit: int = 1 << 20) -> bytes | None:
        """Send one message and read one; None when the command ended or broke the form."""
        if not await self.write(struct.pack(">I", len(message)) + message):
            return None
        head = await self._exactly(4)
        if head is None:
            return None
        (size,) = struct.unpack(">I", head)
        return await self._exactly(size) if size <= reply_limit else None

    async def send(self, content: bytes) -> None:
        """Send bytes as they are."""
        await self.write(content)

    async def until(self, mark: bytes, limit: int = 1 << 20) -> bytes | None:
        """Read up to a mark; None when the command ended or wrote too much without it."""
        pending = self._kept[_STDOUT]
        while (place := pending.find(mark)) < 0:
            if len(pending) > limit or not await self._read():
                return None
        taken = bytes(pending[:place])
        del pending[: place + len(mark)]
        self._seen[_STDOUT] = 0
        return taken

    async def end(self) -> Ran:
        """Kill whatever is left of it and say what was seen; stdout is empty."""
        if self._ran is None:
            if not self._ended:
                await self._kill(None)
                with anyio.move_on_after(_DAEMON_SOON_S):
                    await self.drain()
            self._kept[_STDOUT].clear()
            await self.ran()
        assert self._ran is not None
        return self._ran

    async def ran(self) -> Ran:
        """Ask the engine how it ended and put together what was seen."""
        if self._ran is None:
            state = await anyio.to_thread.run_sync(self._final_state)
            self._ran = self._described(state)
        return self._ran

    def _described(self, state: dict[str, Any]) -> Ran:
        now = time.monotonic()
        if state.get("OOMKilled"):
            self._reasons.add(Ending.MEMORY)
        code = int(state["ExitCode"])
        # The shell hands a signal on as 128 and its number.
        killed = code - 128 if 128 < code <= 128 + 64 else None
        ending = next((e for e in Ending if e in self._reasons), None)
        ending = ending or (Ending.EXIT if killed is None else Ending.SIGNAL)
        limit = self._limits.output_bytes
        return Ran(
            ending=ending,
            code=code if ending is Ending.EXIT else None,
            signal=killed,
            stdout=bytes(self._kept[_STDOUT]),
            stderr=bytes(self._kept[_STDERR][:limit]),
            cpu_s=self._cpu_s + min(now - self._sampled, 0.1),
            wall_s=now - self._began,
        )

    def _final_state(self) -> dict[str, Any]:
        self._container.wait(timeout=_DAEMON_SOON_S)
        self._container.reload()
        state: dict[str, Any] = self._container.attrs["State"]
        return state

    def _look(self) -> None:
        stats = self._client.api.stats(self._container.id, stream=False, one_shot=True)
        used = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        self._cpu_s, self._sampled = max(self._cpu_s, used), time.monotonic()

    async def _kill(self, reason: Ending | None) -> None:
        if reason is not None:
            self._reasons.add(reason)
        with contextlib.suppress(Exception):
            await anyio.to_thread.run_sync(self._container.kill)

    async def _exactly(self, size: int) -> bytes | None:
        pending = self._kept[_STDOUT]
        while len(pending) < size:
            if not await self._read():
                return None
        taken = bytes(pending[:size])
        del pending[:size]
        self._seen[_STDOUT] = 0
        return taken

    async def _read(self) -> bool:
        """Take in what has arrived; False at the end, which comes when the container ends."""
        assert self._socket is not None
        if self._ended:
            return False
        try:
            piece = self._socket.recv(1 << 16)
        except BlockingIOError:
            await anyio.wait_readable(self._socket)
            return True
        except OSError:
            piece = b""
        self._ended = not piece
        self._frame += piece
        while len(self._frame) >= 8:
            stream, size = struct.unpack_from(">BxxxI", self._frame)
            if len(self._frame) < 8 + size:
                break
            self._take(stream, bytes(self._frame[8 : 8 + size]))
            del self._frame[: 8 + size]
        if Ending.OUTPUT in self._reasons:
            # The engine would wait with the kill for somebody to read the rest.
            self._ended = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            await self._kill(Ending.OUTPUT)
        return not self._ended

    def _take(self, stream: int, content: bytes) -> None:
        self._seen[stream] += len(content)
        # Room for what is collected, too; it comes over stdout.
        limit = self._limits.output_bytes
        if stream == _STDOUT and "/tmp/.out" in " ".join(self._given["command"][:3]):
            limit += self._limits.disk_mb << 20
        self._kept[stream] += content[: max(0, limit - len(self._kept[stream]))]
        if self._seen[stream] > PATIENCE * limit:
            self._reasons.add(Ending.OUTPUT)
