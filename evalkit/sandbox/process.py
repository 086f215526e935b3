"""The sandbox that needs no daemon: namespaces, a system call filter, a control group.

Programs run under bubblewrap, started by wardens (`warden.py`), one for each that runs at once.
What is read from a program is bounded here. Not known here: what any command means.
Read `ProcessSandbox.run` first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio

from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.programs import prepared_name
from evalkit.sandbox import cgroups
from evalkit.sandbox.collecting import collect
from evalkit.sandbox.mounts import Toolchain, python_toolchain, view_of
from evalkit.sandbox.orders import Answer, Order, Setup
from evalkit.sandbox.seam import SandboxFailed, SandboxUnavailable
from evalkit.sandbox.seccomp import supported_machine
from evalkit.sandbox.streams import CappedReader, feed
from evalkit.sandbox.wardens import Job, Wardens
from evalkit.sandbox.zygote import suits

_LOBBY_PREFIX = "evalkit-"
# How long what dead programs wrote may take to be read.
_DRAIN_S = 5.0


async def open_process_sandbox(
    toolchains: Mapping[str, Toolchain] | None = None,
) -> ProcessSandbox:
    """Open the sandbox and try it once.

    toolchains: what languages need besides the system's own programs; one that is not named gets
    just those. "python" is there by itself: the interpreter that runs evalkit.

    Raises:
        SandboxUnavailable: programs cannot be isolated here.
    """
    if not supported_machine():
        raise SandboxUnavailable(
            f"the process sandbox has no system call filter for {os.uname().machine}; "
            "use --sandbox docker, or an x86-64 or 64-bit ARM machine"
        )
    bubblewrap = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    if bubblewrap is None:
        raise SandboxUnavailable(
            "bubblewrap is not installed, and without it programs would not be isolated; "
            "run: apt-get install bubblewrap"
        )
    sandbox = ProcessSandbox(bubblewrap, toolchains or {})
    try:
        tried = await sandbox.run(Command(("true",), toolchain=""), Limits())
        if not tried.succeeded:
            raise SandboxFailed(f"the command `true` failed: {tried}")
    except SandboxFailed as error:
        await sandbox.aclose()
        raise SandboxUnavailable(
            f"programs cannot be isolated here ({error}); run evalkit as root, or let users have "
            "namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
            "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), user.max_user_namespaces > 0"
        ) from error
    return sandbox


class ProcessSandbox:
    """Runs each command in namespaces of its own. See `evalkit.sandbox.seam.Sandbox`."""

    name = "process"
    brings_toolchains = False

    def __init__(self, bubblewrap: str, toolchains: Mapping[str, Toolchain]) -> None:
        _remove_stale()
        self._lobby = tempfile.mkdtemp(prefix=f"{_LOBBY_PREFIX}{cgroups.owner()}-")
        Path(self._lobby).chmod(0o755)
        known = {"python": python_toolchain(), "": Toolchain(), **toolchains}
        views = {name: view_of(toolchain) for name, toolchain in known.items()}
        self._known = frozenset(views)
        # The zygote is evalkit's own interpreter; another one has to be started.
        self._warm = frozenset({"python"} if "python" not in toolchains else ())
        self._wardens = Wardens(Setup(views, self._lobby, bubblewrap))

    async def run(self, command: Command, limits: Limits) -> Ran:
        """Run one command to its end. Never raises for what the command did."""
        async with self._wardens.start(command, self._order(command, limits)) as job:
            out = CappedReader(job.stdout, limits.output_bytes)
            err = CappedReader(job.stderr, limits.output_bytes)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed, job.stdin, command.stdin)
                tasks.start_soon(out.read_all, job.stop_for_output)
                tasks.start_soon(err.read_all, job.stop_for_output)
                answer, box = await job.answer()
                tasks.cancel_scope.deadline = anyio.current_time() + _DRAIN_S
            return _seen(answer, command, limits, bytes(out.kept), bytes(err.kept), box)

    @contextlib.asynccontextmanager
    async def talk(self, command: Command, limits: Limits) -> AsyncIterator[_Conversation]:
        """Start one command and speak to it inside the block; leaving kills everything of it."""
        async with self._wardens.start(command, self._order(command, limits)) as job:
            err = CappedReader(job.stderr, limits.output_bytes)
            conversation = _Conversation(job, err, command, limits)
            failure: Exception | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(err.read_all, job.stop_for_output)
                try:
                    yield conversation
                except Exception as error:  # noqa: BLE001 - raised below, out of the task group
                    failure = error
                finally:
                    with anyio.CancelScope(shield=True):
                        await conversation.end()
                    tasks.cancel_scope.deadline = anyio.current_time() + _DRAIN_S
            if failure is not None:
                raise failure

    async def aclose(self) -> None:
        """Give back everything that is held."""
        await self._wardens.aclose()
        with contextlib.suppress(OSError):
            os.rmdir(self._lobby)

    def _order(self, command: Command, limits: Limits) -> Order:
        how = "light" if command.light else "bubblewrap"
        if command.toolchain in self._warm and suits(command.argv):
            how = "python"
        return Order(
            toolchain=command.toolchain if command.toolchain in self._known else "",
            how=how,
            cpu_s=limits.cpu_s,
            wall_s=limits.wall_s,
            memory_mb=limits.memory_mb,
            processes=limits.processes,
            disk_mb=limits.disk_mb,
            files=limits.files,
            collect=bool(command.collect),
            prepared=prepared_name(command) if how == "python" else "",
        )


class _Conversation:
    """Messages over a command's stdin and stdout, each after its length in four bytes."""

    def __init__(self, job: Job, err: CappedReader, command: Command, limits: Limits) -> None:
        self._job = job
        self._err = err
        self._command = command
        self._limits = limits
        self._ran: Ran | None = None
        self._closed = False
        self._lock = anyio.Lock()

    async def ask(self, message: bytes, reply_limit: int = 1 << 20) -> bytes | None:
        """Send one message and read one; None when the command ended or broke the form."""
        if self._ran is not None:
            return None
        await feed(self._job.stdin, struct.pack(">I", len(message)) + message, close=False)
        head = await self._job.stdout.exactly(4)
        if head is None:
            self._closed = True
            return None
        (size,) = struct.unpack(">I", head)
        return await self._job.stdout.exactly(size) if size <= reply_limit else None

    async def send(self, content: bytes) -> None:
        """Send bytes as they are."""
        if self._ran is None:
            await feed(self._job.stdin, content, close=False)

    async def until(self, mark: bytes, limit: int = 1 << 20) -> bytes | None:
        """Read up to a mark; None when the command ended or wrote too much without it."""
        if self._ran is not None:
            return None
        taken = await self._job.stdout.until(mark, limit)
        self._closed = self._closed or taken is None
        return taken

    async def end(self) -> Ran:
        """Kill whatever is left of it and say what was seen; stdout is empty."""
        async with self._lock:
            if self._ran is None:
                if self._closed:
                    # It ended by itself, or is about to: let it, to see how.
                    with anyio.move_on_after(_DRAIN_S):
                        await self._job.answer()
                self._job.stop()
                answer, box = await self._job.answer()
                self._ran = _seen(
                    answer, self._command, self._limits, b"", bytes(self._err.kept), box
                )
        return self._ran


def _seen(
    answer: Answer, command: Command, limits: Limits, out: bytes, err: bytes, box: int | None
) -> Ran:
    if answer.broken:
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise SandboxFailed(f"{command.argv[0]}: {answer.broken}" + (f"; {last}" if last else ""))
    files = collect(box, command.collect, limits.disk_mb << 20) if box is not None else {}
    return Ran(
        ending=Ending(answer.ending),
        code=answer.code,
        signal=answer.signal,
        stdout=out,
        stderr=err,
        cpu_s=answer.cpu_s,
        wall_s=answer.wall_s,
        peak_mb=answer.peak_mb,
        files=files,
    )


def _remove_stale() -> None:
    """Remove what an evalkit left behind that was killed together with its wardens."""
    for lobby in Path(tempfile.gettempdir()).glob(f"{_LOBBY_PREFIX}*-*-*"):
        if not cgroups.owner_lives(lobby.name):
            with contextlib.suppress(OSError):
                lobby.rmdir()
    if hierarchy := cgroups.find_hierarchy():
        cgroups.remove_stale(hierarchy)
