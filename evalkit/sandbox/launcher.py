"""How a program that is no Python gets into a sandbox: without an interpreter on its way.

What a fork would do in Python, a chain of calls of the C library does (`chain.py`), in memory that
nothing has to be copied of; what the forker can do for it, such as writing its files, the forker
does. Nobody looks whether a call of the chain failed. So it stops before the last one, and goes on
only when the kernel says of it that it is confined in every way. Read `Launcher.start` first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.sandbox import kernel
from evalkit.sandbox.chain import Call, Chain
from evalkit.sandbox.confinement import IGNORED, Run, limits_of, write_files
from evalkit.sandbox.mounts import BOX
from evalkit.sandbox.orders import unpack
from evalkit.sandbox.seccomp import filter_program
from evalkit.sandbox.stage import SAFE_FLAGS

_MOST_CALLS = 32
_ALL = 0x7FFFFFFF
# The keeper is the first one.
_STATUS = "/proc/2/status"
_NO_CAPABILITY = b"0" * 16
_NOT_THERE = 127


class Launcher:
    """Starts one program after the other, each in namespaces that the caller has entered."""

    def __init__(self) -> None:
        """Set memory aside.

        Raises:
            OSError: the C library cannot do it.
        """
        self._chain = Chain(_MOST_CALLS)
        # What the calls point to.
        self._held: list[Any] = []

    def start(self, run: Run) -> int:
        """Write the command's files and start it as a child of the caller's parent; return it.

        Raises:
            OSError: it could not be started, or not be confined; what there is of it waits.
        """
        bundle = unpack(run.bundle)
        write_files(bundle, BOX, owner=run.user)
        self._held.clear()
        ours, theirs = socket.socketpair()
        # The chain has both ends: should the forker die it waits, until it is killed.
        with ours:
            with theirs:
                calls = (
                    *self._streams(run),
                    *self._limits(run),
                    *self._confinement(run),
                    ("write", theirs.fileno(), self._at(b"?"), 1),
                    ("read", theirs.fileno(), self._at(b"?"), 1),
                    ("syscall", kernel.CLOSE_RANGE, 3, _ALL, 0),
                    *self._program(bundle.argv, {**run.view.env, **bundle.env}),
                )
                pid, _ = self._chain.start(calls, kernel.CLONE_PARENT)
            for door in run.doors:
                os.write(door, b"%d" % pid)
            if not ours.recv(1) or not _is_confined(run.user):
                raise OSError(errno.EPERM, "a program could not be confined")
            ours.send(b"!")
        return pid

    def _streams(self, run: Run) -> list[Call]:
        calls: list[Call] = [("dup2", stream, at) for at, stream in enumerate(run.streams)]
        return [*calls, ("chdir", self._at(BOX)), *(("signal", number, 0) for number in IGNORED)]

    def _limits(self, run: Run) -> list[Call]:
        calls: list[Call] = []
        for kind, value in limits_of(run):
            value = kernel.allowed(kind, value)
            calls.append(("setrlimit", kind, self._at(struct.pack("@NN", value, value))))
        return calls

    def _confinement(self, run: Run) -> list[Call]:
        head, _ = kernel.loaded_filter(filter_program(deny_uncounted=not run.doors))
        user, proc = run.user, self._at("proc")
        return [
            ("mount", proc, self._at("/proc"), proc, SAFE_FLAGS, 0),
            ("setgroups", 0, 0),
            ("setresgid", user, user, user),
            # With the last of root's numbers go all capabilities.
            ("setresuid", user, user, user),
            ("prctl", kernel.PR_SET_PDEATHSIG, 9, 0, 0, 0),
            ("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            ("prctl", kernel.PR_SET_SECCOMP, 2, self._at(head), 0, 0),
            ("setsid",),
        ]

    def _program(self, argv: Sequence[str], env: Mapping[str, str]) -> list[Call]:
        """Become it; where there is none, end as a shell would."""
        words = self._array(argv)
        variables = self._array([f"{name}={value}" for name, value in env.items()])
        message = f"{argv[0]}: cannot be executed\n".encode()
        return [
            ("execve", self._at(_found(argv[0], env["PATH"])), words, variables),
            ("write", 2, self._at(message), len(message)),
            ("_exit", _NOT_THERE),
        ]

    def _array(self, words: Sequence[str]) -> int:
        array = (ctypes.c_char_p * (len(words) + 1))(*(word.encode() for word in words))
        self._held.append(array)
        return ctypes.addressof(array)

    def _at(self, content: str | bytes) -> int:
        """Keep something in memory for the chain; return its address."""
        raw = content.encode() if isinstance(content, str) else content
        buffer = ctypes.create_string_buffer(raw)
        self._held.append(buffer)
        return ctypes.addressof(buffer)


def _is_confined(user: int) -> bool:
    """Say whether the kernel holds the waiting program to all it should be held to."""
    ids = b"\t".join([b"%d" % user] * 4)
    expected = {b"Uid:\t" + ids, b"Gid:\t" + ids, b"Groups:", b"NoNewPrivs:\t1", b"Seccomp:\t2"}
    expected |= {b"Cap%b:\t%b" % (kind, _NO_CAPABILITY) for kind in _CAPABILITIES}
    with open(_STATUS, "rb", buffering=0) as file:
        lines = file.read().split(b"\n")
    return expected <= {line.rstrip() for line in lines}


_CAPABILITIES = (b"Inh", b"Prm", b"Eff", b"Bnd", b"Amb")


def _found(name: str, path: str) -> str:
    """Look for a program as a shell does, in the mounts that the caller is in."""
    if "/" in name:
        return name
    places = [f"{folder}/{name}" for folder in path.split(":")]
    return next((place for place in places if os.access(place, os.X_OK)), places[-1])
