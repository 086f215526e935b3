"""The process that sandboxes are forked from: a copy of the warden that does next to nothing else.

After each fork a process pays for every page it touches, so what a warden does around a run is not
done here, and messages are `marshal`'s, which are read without a line of Python. The sandboxes are
the warden's children all the same. Read `open_forker`, then `_serve`.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
from array import array
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NoReturn

from evalkit.sandbox import bubblewrap, kernel, zygote
from evalkit.sandbox.confinement import FAILED, Run
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
class Forker:
    """The warden's side."""

    channel: socket.socket

    def start(
        self, order: Order, doors: Sequence[str], report: socket.socket, given: Sequence[int]
    ) -> int:
        """Start a sandbox, a child of the caller; `doors` are the files that lead into its group.

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
        if not said.isdigit():
            raise OSError(said.decode(errors="replace"))
        return int(said)


def open_forker(ground: Ground, closed: socket.socket) -> Forker:
    """Fork the process; it ends with the caller, and has no use for the caller's `closed`."""
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
    _serve(ground, theirs)


def _serve(ground: Ground, channel: socket.socket) -> NoReturn:
    """Start what the warden tells, until it is gone."""
    with contextlib.suppress(ConnectionError):
        _start_all(ground, channel)
    os._exit(0)


def _start_all(ground: Ground, channel: socket.socket) -> None:
    while True:
        told, given = _received(channel)
        namespaces = zygote.NAMESPACES if told.startswith(_FORK) else 0
        try:
            pid = kernel.clone(kernel.CLONE_PARENT | namespaces, ends_with=0)
        except OSError as error:
            said = str(error).encode()
        else:
            if pid == 0:
                _carry_out(ground, channel, told, given)
            said = b"%d" % pid
        for descriptor in given:
            os.close(descriptor)
        channel.send(said)


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
    ground: Ground, channel: socket.socket, told: bytes, given: Sequence[int]
) -> NoReturn:
    """Become the first process of a sandbox."""
    report = socket.socket(fileno=given[0])
    try:
        channel.close()
        if told.startswith(_FORK):
            zygote.carry_out(ground.user, report, lambda: _run(ground, told, report, given))
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
