"""The system calls that Python has no function for, by ctypes; each raises OSError on failure.

Constants have the kernel's names. Nothing here knows what a sandbox is.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import resource
import signal
import struct
from typing import Any

CLONE_VM = 0x00000100
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2

# To wait for children whose end sends no signal, too.
WAIT_ALL = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_CAPABILITY_VERSION = 0x20080522

# name → number on (x86-64, 64-bit ARM)
_NUMBERS = {"clone": (56, 220), "pivot_root": (155, 41), "mount_setattr": (442, 442)}
CLOSE_RANGE = 436


def unshare(flags: int) -> None:
    """Give the calling process namespaces of its own."""
    _check(_libc().unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, or bind or change one that is mounted."""
    result = _libc().mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(result, f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Take a mount away, with all that is mounted below it."""
    _check(_libc().umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def prctl(option: int, value: int) -> None:
    """Change something about the calling process."""
    _check(_libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def clone(flags: int, *, ends_with: int = signal.SIGCHLD) -> int:
    """Fork into new namespaces; return 0 in the child. `ends_with` is the signal of its end.

    The interpreter is told as by `os.fork`. The C library is not, so the child should do little but
    fork once more. To be called from the only thread there is.
    """
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    words = (_number("clone"), flags | ends_with, 0, 0, 0, 0)
    pid = int(_syscall_under_lock()(*(ctypes.c_long(word) for word in words)))
    number = ctypes.get_errno()
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def enter_namespaces(process: int, kinds: int) -> None:
    """Move into these kinds of namespaces of a process; children only, for process numbers."""
    _check(_libc().setns(ctypes.c_int(process), ctypes.c_int(kinds)), "setns")


def make_read_only(path: str, *, devices: bool = False) -> None:
    """Make a mount and all below it read-only, without set-user-id and, unless asked, devices."""
    flags = _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | (0 if devices else _MOUNT_ATTR_NODEV)
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = _libc().syscall(
        ctypes.c_long(_number("mount_setattr")),
        ctypes.c_long(_AT_FDCWD),
        os.fsencode(path),
        ctypes.c_long(_AT_RECURSIVE),
        buffer,
        ctypes.c_long(len(attributes)),
    )
    _check(result, f"mount_setattr {path}")


def change_root(folder: str) -> None:
    """Make a mounted folder the root, and let go of the old one."""
    os.chdir(folder)
    _check(_libc().syscall(ctypes.c_long(_number("pivot_root")), b".", b"."), "pivot_root")
    _check(_libc().umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def forgo_capabilities() -> None:
    """Give up the right to gain a capability. Needs to be done while there still are some."""
    libc = _libc()
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            if ctypes.get_errno() == errno.EINVAL:
                return  # past the last one that this kernel knows
            _check(-1, "prctl PR_CAPBSET_DROP")


def drop_capabilities() -> None:
    """Give up every capability."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _check(_libc().capset(header, bytes(24)), "capset")


def install_filter(program: bytes) -> None:
    """Hold the calling process and all it starts to a system call filter."""
    head, _ = loaded_filter(program)
    _check(_libc().prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), head, 0, 0), "seccomp")


@functools.cache
def loaded_filter(program: bytes) -> tuple[bytes, Any]:
    """What the kernel is given, and memory that this points to; remembered."""
    code = ctypes.create_string_buffer(program, len(program))
    return struct.pack("@HP", len(program) // 8, ctypes.addressof(code)), code


def find_functions() -> None:
    """Look up now what each fork would have to look up anew."""
    for name in ("capset", "mount", "prctl"):
        getattr(_libc(), name)


def limit(kind: int, value: int) -> None:
    """Set a resource limit, soft and hard, without raising what the caller has."""
    value = allowed(kind, value)
    resource.setrlimit(kind, (value, value))


def allowed(kind: int, value: int) -> int:
    """Return a value for a limit, lowered to what the caller itself has."""
    _, hard = resource.getrlimit(kind)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


@functools.cache
def _syscall_under_lock() -> Any:
    """Return `syscall` as CDLL cannot have it, which lets go of the interpreter's lock."""
    call = ctypes.PyDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return call


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _number(name: str) -> int:
    return _NUMBERS[name][platform.machine() == "aarch64"]
