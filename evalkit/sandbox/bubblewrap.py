"""The way into a sandbox for any program: through bubblewrap.

Bubblewrap builds the namespaces, the file system and the filter. What it cannot do is done before:
limits, and a working folder that is bounded in files. Its arguments travel over a descriptor, not
on the command line, which the sandboxed could read. Read `carry_out` first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from evalkit.sandbox import kernel
from evalkit.sandbox.confinement import (
    IGNORED,
    Run,
    become_user,
    enter_limits,
    mount_disk,
    wire_standard_streams,
    write_files,
)
from evalkit.sandbox.mounts import BOX, View, accounts
from evalkit.sandbox.orders import unpack
from evalkit.sandbox.seccomp import filter_program
from evalkit.sandbox.stage import WRITABLE, Stage

INSIDE_ID = 1000


def carry_out(run: Run) -> None:
    """Become bubblewrap, in a child of the warden; its end is the end of all of it."""
    kernel.unshare(kernel.CLONE_NEWNS)
    enter_limits(run)
    mount_disk(run, run.stage.disk)
    become_user(run.user)
    bundle = unpack(run.bundle)
    write_files(bundle, f"{run.stage.disk}/box")
    files = {path: _memory_file(text.encode()) for path, text in accounts(INSIDE_ID).items()}
    seccomp = _memory_file(filter_program(deny_uncounted=not run.doors))
    words = arguments(run.view, run.stage, files, seccomp, run.report, bundle.env)
    given = _memory_file(words)
    wire_standard_streams(run)
    # Nothing else gets through: all other descriptors close themselves.
    for descriptor in (given, seccomp, run.report, *files.values()):
        os.set_inheritable(descriptor, True)
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    program = run.setup.bubblewrap
    os.execve(program, [program, "--args", str(given), "--", *bundle.argv], {})


def arguments(
    view: View,
    stage: Stage,
    files: Mapping[str, int],
    seccomp: int,
    status: int,
    env: Mapping[str, str],
) -> bytes:
    """Return bubblewrap's arguments, separated by NUL.

    files: path → descriptor of files made anew. env: added to the view's.
    """
    words = ["--json-status-fd", str(status), "--unshare-all", "--unshare-user", "--disable-userns"]
    words += ["--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", "sandbox"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for path in view.binds:
        words += ["--ro-bind", stage.copies.get(path, path), path]
    for path, target in view.links.items():
        words += ["--symlink", target, path]
    for path, descriptor in files.items():
        words += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    for path in view.hides:
        words += ["--perms", "0555", "--size", "4096", "--tmpfs", path, "--remount-ro", path]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for name, (path, _) in WRITABLE.items():
        words += ["--bind", f"{stage.disk}/{name}", path]
    words += ["--chdir", BOX, "--remount-ro", "/dev", "--remount-ro", "/"]
    words += ["--seccomp", str(seccomp), "--clearenv"]
    for name, value in {**view.env, **env}.items():
        words += ["--setenv", name, value]
    return b"\0".join(word.encode() for word in words) + b"\0"


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("evalkit", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
