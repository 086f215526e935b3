"""What both ways into a sandbox do first: enter the group, set limits, lay out the working folder.

Runs in a child of the warden. `bubblewrap.py` and `zygote.py` go on from here.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from evalkit.sandbox import kernel
from evalkit.sandbox.cgroups import Group
from evalkit.sandbox.mounts import View
from evalkit.sandbox.orders import Bundle, Order, Setup

OPEN_FILES = 1024
FAILED = b"failed: "
# Processes of our own inside: bubblewrap's two.
SUPERVISORS = 2
_STACK = 64 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One order, with all that a child of the warden needs to carry it out.

    user: the unprivileged id outside. descriptors: bundle, stdin, stdout, stderr. report: where the
    child says what the warden must know; closed for whatever is not trusted.
    """

    order: Order
    setup: Setup
    view: View
    group: Group | None
    user: int
    descriptors: tuple[int, ...]
    report: socket.socket


def forked(run: Run, task: Callable[[Run], None]) -> int:
    """Fork; in the child carry out `task`, which does not return, and report what it raises."""
    if pid := os.fork():
        return pid
    try:
        task(run)
    except BaseException as error:  # noqa: BLE001 - a child must not go on as the warden
        with contextlib.suppress(OSError):
            run.report.send(FAILED + f"{type(error).__name__}: {error}".encode()[:4000])
    os._exit(70)


def set_limits(run: Run) -> None:
    """Set every limit that a process can set on itself, already in the user namespace it stays in.

    The kernel counts processes per user and namespace: outside, the user's other programs count.
    """
    order = run.order
    if run.group is None:
        kernel.limit(resource.RLIMIT_NPROC, order.processes + SUPERVISORS)
        kernel.limit(resource.RLIMIT_DATA, order.memory_mb << 20)
    kernel.limit(resource.RLIMIT_CORE, 0)
    kernel.limit(resource.RLIMIT_MEMLOCK, 0)
    kernel.limit(resource.RLIMIT_MSGQUEUE, 0)
    kernel.limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    kernel.limit(resource.RLIMIT_FSIZE, order.disk_mb << 20)
    kernel.limit(resource.RLIMIT_CPU, math.ceil(order.cpu_s) + 1)
    kernel.limit(resource.RLIMIT_STACK, _STACK)


def mount_disk(run: Run, folder: str) -> None:
    """Mount the only place that can be written, bounded in bytes and in files."""
    size = f"size={run.order.disk_mb << 20},nr_inodes={run.order.files},mode=0755"
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("disk", folder, "tmpfs", flags, size)
    for name, mode in (("box", 0o755), ("tmp", 0o1777)):
        place = Path(folder, name)
        place.mkdir()
        os.chown(place, run.user, run.user)
        place.chmod(mode)


def hand_over(run: Run, folder: str) -> None:
    """Send the warden the working folder, from which results are read when all is dead."""
    box = os.open(f"{folder}/box", os.O_RDONLY | os.O_DIRECTORY)
    socket.send_fds(run.report, [b"box"], [box])
    os.close(box)


def become_user(run: Run) -> None:
    """Give up root, for good; an ordinary user stays what it is."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(run.user, run.user, run.user)
        os.setresuid(run.user, run.user, run.user)


def write_files(bundle: Bundle, folder: str) -> None:
    """Write the command's files, every one executable."""
    for name, content in bundle.files.items():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise ValueError(f"{name!r} is not a path inside the working folder")
        path = Path(folder, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)


def wire_standard_streams(run: Run) -> None:
    """Make the descriptors of the order the standard streams."""
    _, *streams = run.descriptors
    # Not in place: one of them may itself have the number of another's target.
    copies = [os.dup(stream) for stream in streams]
    for target, copy in enumerate(copies):
        os.dup2(copy, target)
        os.close(copy)
