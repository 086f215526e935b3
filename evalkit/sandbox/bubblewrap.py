"""The way into a sandbox for any program: through bubblewrap.

Bubblewrap builds the namespaces, the file system and the filter. What it cannot do is done before:
limits, and a working folder that is bounded in files. Its arguments travel over a descriptor, not
on the command line, which the sandboxed could read. Read `start` first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from evalkit.sandbox import kernel
from evalkit.sandbox.confinement import (
    Run,
    become_user,
    forked,
    hand_over,
    mount_disk,
    set_limits,
    wire_standard_streams,
    write_files,
)
from evalkit.sandbox.mounts import BOX, View, accounts
from evalkit.sandbox.orders import unpack
from evalkit.sandbox.seccomp import filter_program

INSIDE_ID = 1000


def start(run: Run) -> int:
    """Start a command; return the process whose end is the end of all of it."""
    return forked(run, _become_bubblewrap)


def _become_bubblewrap(run: Run) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    if run.group is not None:
        run.group.enter()
    _own_mounts()
    set_limits(run)
    lobby = run.setup.lobby
    kernel.mount("lobby", lobby, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=0755")
    disk = f"{lobby}/disk"
    os.mkdir(disk)
    mount_disk(run, disk)
    hand_over(run, disk)
    places = _reachable(run.view, lobby) if os.getuid() == 0 else {}
    become_user(run)
    # Giving up root also takes the death signal away.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    bundle = unpack(run.descriptors[0])
    write_files(bundle, f"{disk}/box")
    files = {path: _memory_file(text.encode()) for path, text in accounts(INSIDE_ID).items()}
    seccomp = _memory_file(filter_program(deny_uncounted=run.group is None))
    report = run.report.fileno()
    words = arguments(run.view, places, disk, files, seccomp, report, bundle.env)
    given = _memory_file(words)
    wire_standard_streams(run)
    passed = {given, seccomp, report, *files.values()}
    for descriptor in passed:
        os.set_inheritable(descriptor, True)
    # Nothing else gets through: all other descriptors close themselves.
    program = run.setup.bubblewrap
    os.execve(program, [program, "--args", str(given), "--", *bundle.argv], {})


def arguments(
    view: View,
    places: Mapping[str, str],
    disk: str,
    files: Mapping[str, int],
    seccomp: int,
    status: int,
    env: Mapping[str, str],
) -> bytes:
    """Return bubblewrap's arguments, separated by NUL.

    places: where a path of the view is to be taken from, unless from itself. disk: the folder that
    holds `box` and `tmp`. files: path → descriptor of files made anew. env: added to the view's.
    """
    words = ["--json-status-fd", str(status), "--unshare-all", "--unshare-user", "--disable-userns"]
    words += ["--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", "sandbox"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for path in view.binds:
        words += ["--ro-bind", places.get(path, path), path]
    for path, target in view.links.items():
        words += ["--symlink", target, path]
    for path, descriptor in files.items():
        words += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    for path in view.hides:
        words += ["--perms", "0555", "--size", "4096", "--tmpfs", path, "--remount-ro", path]
    words += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777"]
    words += ["--size", str(1 << 20), "--tmpfs", "/dev/shm"]
    words += ["--bind", f"{disk}/box", BOX, "--bind", f"{disk}/tmp", "/tmp", "--chdir", BOX]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--seccomp", str(seccomp), "--clearenv"]
    for name, value in {**view.env, **env}.items():
        words += ["--setenv", name, value]
    return b"\0".join(word.encode() for word in words) + b"\0"


def _own_mounts() -> None:
    """Give this process mounts of its own; an ordinary user needs a user namespace for that."""
    if os.getuid() == 0:
        kernel.unshare(kernel.CLONE_NEWNS)
    else:
        user, group = os.getuid(), os.getgid()
        # A process that may not be looked into may not write its own maps either.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def _reachable(view: View, lobby: str) -> dict[str, str]:
    """Bind what may lie in folders closed to other users to places that bubblewrap can reach."""
    places = {}
    for number, path in enumerate(path for path in view.binds if not path.startswith("/usr")):
        place = Path(lobby, str(number))
        if Path(path).is_dir():
            place.mkdir()
        else:
            place.touch()
        kernel.mount(path, str(place), None, kernel.MS_BIND | kernel.MS_REC)
        places[path] = str(place)
    return places


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("evalkit", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
