"""What both ways into a sandbox share: limits, the working folder, giving up root.

Runs in a child of the warden. `bubblewrap.py` and `zygote.py` go on from here.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import socket
from dataclasses import dataclass

from evalkit.sandbox import kernel
from evalkit.sandbox.mounts import View
from evalkit.sandbox.orders import Bundle, Order, Setup
from evalkit.sandbox.stage import WRITABLE, Stage

# Processes of our own inside: bubblewrap's two, or the zygote's first one.
SUPERVISORS = 2
FAILED = b"failed: "
_OPEN_FILES = 1024
# By the interpreter; a program that is started would inherit it.
IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
_STACK = 64 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One order, with all that a child of the warden needs to carry it out.

    doors: the files that lead into the control group, none where there is no group. user: the
    unprivileged id outside. streams: stdin, stdout, stderr. bundle: -1 where the warden has the
    program. report: the socket where
    the child says what the warden must know; closed for whatever is not trusted. mounts: those to
    copy; -1 where bubblewrap makes them.
    """

    order: Order
    setup: Setup
    stage: Stage
    doors: tuple[int, ...]
    user: int
    streams: tuple[int, ...]
    bundle: int
    report: int
    mounts: int

    @property
    def view(self) -> View:
        """What the order's toolchain sees."""
        return self.setup.views[self.order.toolchain]


def lower_limits() -> None:
    """Set what is the same for all runs, in the process that all are forked from."""
    kernel.limit(resource.RLIMIT_CORE, 0)
    kernel.limit(resource.RLIMIT_MEMLOCK, 0)
    kernel.limit(resource.RLIMIT_MSGQUEUE, 0)
    kernel.limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    kernel.limit(resource.RLIMIT_STACK, _STACK)


def enter_limits(run: Run) -> None:
    """Join the group and set every limit that is the run's own."""
    # Whatever kills the warden kills this; asked for again after giving up root, which forgets it.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    for door in run.doors:
        os.write(door, b"0")
    for kind, value in limits_of(run):
        kernel.limit(kind, value)


def limits_of(run: Run) -> list[tuple[int, int]]:
    """Return the limits that are the run's own: which, and how much."""
    order = run.order
    limits = [
        (resource.RLIMIT_FSIZE, order.disk_mb << 20),
        # Only for when the warden is gone: it counts in ticks, and they may run ahead of the use.
        (resource.RLIMIT_CPU, math.ceil(2 * order.cpu_s) + 1),
    ]
    if not run.doors:
        limits.append((resource.RLIMIT_NPROC, order.processes + SUPERVISORS))
        limits.append((resource.RLIMIT_DATA, order.memory_mb << 20))
    return limits


def mount_disk(run: Run, place: str) -> None:
    """Mount the only thing that can be written, bounded in bytes and files; show it the warden.

    The working folder stays open there, so that results can be read when all is dead.
    """
    size = f"size={run.order.disk_mb << 20},nr_inodes={run.order.files},mode=0755"
    kernel.mount("disk", place, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, size)
    for name, (_, mode) in WRITABLE.items():
        folder = f"{place}/{name}"
        os.mkdir(folder)
        os.chown(folder, run.user, run.user)
        os.chmod(folder, mode)
    if run.order.collect:
        box = os.open(f"{place}/box", os.O_RDONLY | os.O_DIRECTORY)
        say(run, b"box", box)
        os.close(box)


def say(run: Run, words: bytes, *descriptors: int) -> None:
    """Tell the warden something."""
    with socket.socket(fileno=os.dup(run.report)) as report:
        socket.send_fds(report, [words], descriptors)


def become_user(user: int) -> None:
    """Give up root, for good; an ordinary user stays what it is."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)


def write_files(bundle: Bundle, folder: str, owner: int = -1) -> None:
    """Write the command's files, every one executable; -1: the caller's own.

    The kernel copies what is in them, so that the caller's memory never holds it.
    """
    for name, (start, end) in bundle.files.items():
        *above, last = name.split("/")
        if not last or name.startswith("/") or ".." in above:
            raise ValueError(f"{name!r} is not a path inside the working folder")
        for depth in range(len(above)):
            _make_folder("/".join([folder, *above[: depth + 1]]), owner)
        descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        while start < end:
            start += os.sendfile(descriptor, bundle.descriptor, start, end - start)
        os.fchown(descriptor, owner, owner)
        os.fchmod(descriptor, 0o755)
        os.close(descriptor)


def _make_folder(path: str, owner: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
        os.chown(path, owner, owner)


def wire_standard_streams(run: Run) -> None:
    """Make the descriptors of the order the standard streams."""
    # Not in place: one of them may itself have the number of another's target.
    copies = [os.dup(stream) for stream in run.streams]
    for target, copy in enumerate(copies):
        os.dup2(copy, target)
        os.close(copy)
