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
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NoReturn

from evalkit.sandbox import bubblewrap, kernel, zygote
from evalkit.sandbox.confinement import FAILED, Run
from evalkit.sandbox.keeper import Keepers
from evalkit.sandbox.orders import MAX_MESSAGE, Order, Setup
from evalkit.sandbox.stage import Stage

_FORK, _BUBBLEWRAP = b"f", b"b"
_MOST_DESCRIPTORS = 8


class ForkerEnded(Exception):
    """There is nobody left who could start a sandbox."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is the same for all runs. user: the unprivileged id outside."""

    setup: Setup
    stage: Stage
    user: int

    def prepare(self, toolchain: str) -> None:
        """Mount what a toolchain's programs see; done by the warden, seen by the forker."""
        self.stage.prepare(toolchain, self.setup.views[toolchain], self.user)


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox. keeper: the process with which all of it dies; pid: the one that ends by itself.

    These are two only where the namespaces have a first process that does nothing.
    """

    keeper: int
    pid: int


@dataclass(frozen=True, slots=True)
class Forker:
    """The warden's side."""

    channel: socket.socket

    def start(
        self, order: Order, doors: Sequence[str], report: socket.socket, given: Sequence[int]
    ) -> Started:
        """Start a sandbox, children of the caller; `doors` are the files that lead into its group.

        Raises:
            ForkerEnded: nothing was started, and nothing can be.
            OSError: the kernel refused the process.
        """
        way = _BUBBLEWRAP if order.how == "bubblewrap" else _FORK
        told = marshal.dumps((astuple(order), tuple(doors)))
        try:
            socket.send_fds(self.channel, [way + told], [report.fileno(), *given])
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
    if kernel.clone(0, ends_with=0):
        theirs.close()
        return Forker(ours)
    ours.close()
    closed.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Keepers, and programs until they are built, have the same: no signal may lead into Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # For all that is forked from here, and this has no use for them either.
    kernel.forgo_capabilities()
    if counted:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers wait for nobody
    _serve(ground, theirs)


def _serve(ground: Ground, channel: socket.socket) -> NoReturn:
    """Start what the warden tells, until it is gone."""
    with contextlib.suppress(ConnectionError):
        _start_all(ground, channel)
    os._exit(0)


def _start_all(ground: Ground, channel: socket.socket) -> None:
    own = os.pidfd_open(os.getpid())
    keepers = _keepers(own)
    while True:
        told, given = _received(channel)
        forked = told.startswith(_FORK)
        kept = (-1, -1)
        try:
            if forked and keepers is not None:
                kept = keepers.start(zygote.NAMESPACES)
                kernel.enter_namespaces(kept[1], kernel.CLONE_NEWPID)
            fresh = zygote.NAMESPACES if forked and keepers is None else 0
            pid = kernel.clone(kernel.CLONE_PARENT | fresh, ends_with=0)
            if pid == 0:
                _carry_out(ground, channel, told, given, kept[1])
            said = b"%d %d" % (kept[0] if kept[0] > 0 else pid, pid)
        except OSError as error:
            said = str(error).encode()
            if kept[0] > 0:
                os.kill(kept[0], signal.SIGKILL)
        if kept[0] > 0:
            kernel.enter_namespaces(own, kernel.CLONE_NEWPID)
            os.close(kept[1])
        for descriptor in given:
            os.close(descriptor)
        channel.send(said)


def _keepers(own: int) -> Keepers | None:
    """Return what makes keepers; None for a user, a kernel or a C library that does not let us."""
    try:
        kernel.enter_namespaces(own, kernel.CLONE_NEWPID)
        return Keepers()
    except OSError:
        return None


def _received(channel: socket.socket) -> tuple[bytes, array[int]]:
    """Receive one message and its descriptors, which are closed for every program."""
    room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array("i").itemsize)
    told, parts, _, _ = channel.recvmsg(MAX_MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    if not told:
        os._exit(0)
    given = array("i")
    for _, _, part in parts:
        given.frombytes(part)
    return told, given


def _carry_out(
    ground: Ground, channel: socket.socket, told: bytes, given: Sequence[int], home: int
) -> NoReturn:
    """Become the process that builds a sandbox. home: whose namespaces it is to be in."""
    report = socket.socket(fileno=given[0])
    try:
        channel.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if told.startswith(_FORK):
            if home < 0:
                zygote.carry_out_as_first(
                    ground.user, report, lambda: _run(ground, told, report, given)
                )
            kernel.enter_namespaces(home, zygote.NAMESPACES & ~kernel.CLONE_NEWPID)
            zygote.carry_out(_run(ground, told, report, given))
        else:
            bubblewrap.carry_out(_run(ground, told, report, given))
    except BaseException as error:  # noqa: BLE001 - a child must not go on as the forker
        with contextlib.suppress(OSError):
            report.send(FAILED + f"{type(error).__name__}: {error}".encode()[:4000])
    os._exit(70)


def _run(ground: Ground, told: bytes, report: socket.socket, given: Sequence[int]) -> Run:
    order, doors = marshal.loads(told[1:])
    known = (ground.setup, ground.stage, doors, ground.user)
    return Run(Order(*order), *known, tuple(given[1:]), report)
