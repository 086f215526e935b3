"""What evalkit tells a warden, and what a warden answers: messages and open descriptors.

A bundle, the untrusted part (argv, environment, files), travels as a file in memory that only the
sandbox's own process reads, so that a warden's memory never holds anything of a program it ran.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import Any

from evalkit.execution import Command
from evalkit.sandbox.mounts import View

MAX_MESSAGE = 1 << 16
# A form of `marshal` in which a dict begins with a brace.
_PLAIN = 2
_HEAD = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: what holds for everything this warden runs.

    views: by toolchain. lobby: an empty folder that any user may enter; in
    namespaces of their own, wardens mount on it.
    """

    views: Mapping[str, View]
    lobby: str
    bubblewrap: str

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Setup:
        """Build it from a message's fields."""
        views = {name: View(**view) for name, view in fields["views"].items()}
        return Setup(views, fields["lobby"], fields["bubblewrap"])


@dataclass(frozen=True, slots=True)
class Order:
    """Run what the bundle holds. Its descriptors: stdin, stdout, stderr, bundle.

    prepared: the name of a program of ours, whose text the warden has; then there is no bundle.
    """

    toolchain: str
    how: str
    cpu_s: float
    wall_s: float
    memory_mb: int
    processes: int
    disk_mb: int
    files: int
    collect: bool
    prepared: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the warden saw. With `collect` the working folder comes along, as a descriptor.

    broken: why there was no run; then nothing else means anything.
    """

    ending: str = ""
    code: int | None = None
    signal: int | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float | None = None
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The untrusted part of a command. files: name → where it begins and ends in the descriptor."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, tuple[int, int]]
    descriptor: int


def send(channel: socket.socket, message: Any, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message of this file."""
    flat = not isinstance(message, Setup)
    fields = (
        {name: getattr(message, name) for name in message.__slots__} if flat else asdict(message)
    )
    socket.send_fds(channel, [marshal.dumps(fields, _PLAIN)], list(descriptors))


def receive(channel: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Receive the fields of one message and its descriptors; None when the other side is gone.

    A word to a command that had ended by itself meanwhile is no message; it is passed over.
    """
    data = b"?"
    while data and not data.startswith(b"{"):
        # What would inherit the descriptors is not trusted.
        closing = socket.MSG_CMSG_CLOEXEC
        data, descriptors, _, _ = socket.recv_fds(channel, MAX_MESSAGE, 8, closing)
    return (marshal.loads(data) if data else None), list(descriptors)


def pack(command: Command) -> int:
    """Put the untrusted part into a file in memory; return its descriptor."""
    descriptor = os.memfd_create("bundle", os.MFD_CLOEXEC)
    sizes = {name: len(content) for name, content in command.files.items()}
    head = marshal.dumps((command.argv, dict(command.env), sizes))
    with open(descriptor, "wb", closefd=False) as file:
        file.write(_HEAD.pack(len(head)) + head)
        file.writelines(command.files.values())
    return descriptor


def unpack(descriptor: int) -> Bundle:
    """Read what `pack` wrote, but not what is in the files."""
    (size,) = _HEAD.unpack(os.pread(descriptor, _HEAD.size, 0))
    argv, env, sizes = marshal.loads(os.pread(descriptor, size, _HEAD.size))
    ends = accumulate(sizes.values(), initial=_HEAD.size + size)
    return Bundle(argv, env, dict(zip(sizes, pairwise(ends), strict=True)), descriptor)
