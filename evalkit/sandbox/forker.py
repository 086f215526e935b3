"""The process that sandboxes are forked from: a copy of the warden that does next to nothing else.

After each fork a process pays for every page it touches, so what a warden does around a run is not
done here, and messages are `marshal`'s, which are read without a line of Python. The sandboxes are
the warden's children all the same. Read `open_forker`, then `_serve`.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import socket
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from evalkit.sandbox import bubblewrap, kernel, zygote
from evalkit.sandbox.confinement import FAILED, Run, lower_limits, say
from evalkit.sandbox.keeper import Keepers
from evalkit.sandbox.launcher import Launcher
from evalkit.sandbox.network import Network
from evalkit.sandbox.orders import MAX_MESSAGE, Order, Setup
from evalkit.sandbox.stage import Stage

_MOST_DESCRIPTORS = 16


class ForkerEnded(Exception):
    """There is nobody left who could start a sandbox."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is the same for all runs. user: the unprivileged id outside."""

    setup: Setup
    stage: Stage
    user: int


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox. keeper: the process with which all of it dies; pid: the one that ends by itself.

    These are two only where the namespaces have a first process that does nothing.
    """

    keeper: int
    pid: int


@dataclass(frozen=True, slots=True)
class Forker:
    """The warden's side. pid: of the process itself."""

    channel: socket.socket
    pid: int

    def start(
        self, order: Order, report: socket.socket, given: Sequence[int], doors: Sequence[int]
    ) -> Started:
        """Start a sandbox, children of the caller.

        given: the order's descriptors and, where it is not bubblewrap that mounts, the mounts to
        copy; doors: the files that lead into its group.

        Raises:
            ForkerEnded: nothing was started, and nothing can be.
            OSError: the kernel refused the process.
        """
        told = marshal.dumps([getattr(order, name) for name in Order.__slots__])
        try:
            socket.send_fds(self.channel, [told], [report.fileno(), *given, *doors])
            said = self.channel.recv(4096)
        except ConnectionError:
            said = b""
        if not said:
            raise ForkerEnded
        keeper, _, pid = said.partition(b" ")
        if not pid.isdigit():
            raise OSError(said.decode(errors="replace"))
        return Started(int(keeper), int(pid))


def open_forker(ground: Ground, closed: socket.socket, *, counted: bool) -> Forker:
    """Fork the process; it ends with the caller, and has no use for the caller's `closed`.

    counted: sandboxes have control groups, which know what processes used that nobody waited for.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Without a signal for its end: the warden, which waits for any child, is not to wait for it.
    if pid := kernel.clone(0, ends_with=0):
        theirs.close()
        return Forker(ours, pid)
    ours.close()
    closed.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    # For all that is forked from here, and this has no use for them either.
    kernel.forgo_capabilities()
    lower_limits()
    _serve(ground, theirs, counted)


def _serve(ground: Ground, channel: socket.socket, counted: bool) -> NoReturn:
    """Start what the warden tells, until it is gone."""
    with contextlib.suppress(ConnectionError):
        home = _Home.of_caller()
        makers, network = _makers(home, counted), Network()
        while True:
            run = _received(ground, channel)
            try:
                network.clean()
                said = b"%d %d" % _start(run, channel, home, makers)
            except OSError as error:
                said = str(error).encode()
            for descriptor in (*run.streams, run.bundle, run.report, run.mounts, *run.doors):
                if descriptor >= 0:
                    os.close(descriptor)
            channel.send(said)
    os._exit(0)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the forker comes back to. mounts: its own; warden: who is in the same namespaces."""

    mounts: int
    warden: int

    @staticmethod
    def of_caller() -> _Home:
        """Note where the calling process is."""
        mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        return _Home(mounts, os.pidfd_open(os.getppid()))


def _start(
    run: Run, channel: socket.socket, home: _Home, makers: _Makers | None
) -> tuple[int, int]:
    """Start a sandbox; return its keeper and its program, as `Started` has them."""
    if run.mounts < 0:
        pid = _forked(run, channel, bubblewrap.carry_out)
        return pid, pid
    kernel.enter_namespaces(run.mounts, kernel.CLONE_NEWNS)
    try:
        if makers is not None:
            return _start_kept(run, channel, home, makers)
        pid = _forked(run, channel, zygote.carry_out_as_first, zygote.NAMESPACES)
        return pid, pid
    finally:
        kernel.enter_namespaces(home.mounts, kernel.CLONE_NEWNS)


def _start_kept(run: Run, channel: socket.socket, home: _Home, makers: _Makers) -> tuple[int, int]:
    keeper, inside = makers.keepers.start(zygote.NAMESPACES)
    try:
        kernel.enter_namespaces(inside, zygote.NAMESPACES)
        try:
            zygote.furnish(run)
            if run.order.how == "light" and not run.stage.shows_host:
                return keeper, makers.launcher.start(run)
            return keeper, _forked(run, channel, zygote.carry_out)
        finally:
            kernel.enter_namespaces(home.warden, zygote.NAMESPACES)
    except BaseException:
        os.kill(keeper, signal.SIGKILL)
        raise
    finally:
        os.close(inside)


@dataclass(frozen=True, slots=True)
class _Makers:
    """What starts processes that share the forker's memory."""

    keepers: Keepers
    launcher: Launcher


def _makers(home: _Home, counted: bool) -> _Makers | None:
    """Return them; None for a user, a kernel or a C library that does not let us."""
    try:
        kernel.enter_namespaces(home.warden, zygote.NAMESPACES)
        return _Makers(Keepers(wait_for_nobody=counted), Launcher())
    except OSError:
        return None


def _received(ground: Ground, channel: socket.socket) -> Run:
    """Receive one order; its descriptors are closed for every program."""
    room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array("i").itemsize)
    told, parts, _, _ = channel.recvmsg(MAX_MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    if not told:
        os._exit(0)
    given = array("i")
    for _, _, part in parts:
        given.frombytes(part)
    order = Order(*marshal.loads(told))
    report, stdin, stdout, stderr, *rest = given
    bundle = -1 if order.prepared else rest.pop(0)
    mounts = -1 if order.how == "bubblewrap" else rest.pop(0)
    known = (order, ground.setup, ground.stage, tuple(rest), ground.user)
    return Run(*known, (stdin, stdout, stderr), bundle, report, mounts)


def _forked(
    run: Run, channel: socket.socket, carry_out: Callable[[Run], None], namespaces: int = 0
) -> int:
    """Fork a child of the warden that carries out a run; return it."""
    pid = kernel.clone(kernel.CLONE_PARENT | namespaces, ends_with=0)
    if pid:
        return pid
    try:
        channel.close()
        carry_out(run)
    except BaseException as error:  # noqa: BLE001 - a child must not go on as the forker
        with contextlib.suppress(OSError):
            say(run, FAILED + f"{type(error).__name__}: {error}".encode()[:4000])
    os._exit(70)
