"""The first process of a sandbox's namespaces, which does nothing but exist.

When it is killed, so is everything in them. It runs no interpreter and needs no memory of its own:
it shares that of the process that makes it, which is a tenth of the price of a fork. All it does is
a chain of three calls of the C library: be killed with the warden, close every descriptor, sleep.

A program sees it as process 1. It cannot trace, read or write it: the memory is marked as not to be
dumped, and the keeper has capabilities that no program has. Signals from inside do nothing to a
first process without handlers, and it has none. Read `Keepers.start` first.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import signal
import struct
from collections.abc import Iterator
from typing import Any

from evalkit.sandbox import kernel

# A `ucontext_t` is smaller on all machines; how its fields begin is the same on all.
_CONTEXT = 8192
_STACK = 16384
_FIELDS = struct.Struct("@PPiN")  # the next one; the stack's address, flags and size
_FIELDS_AT = struct.calcsize("@N")
_ALL = 0x7FFFFFFF


class Keepers:
    """Makes one after the other: the next when the one before is dead."""

    def __init__(self, *, wait_for_nobody: bool) -> None:
        """Set memory aside. wait_for_nobody: what orphans used is counted elsewhere.

        Raises:
            OSError: the C library cannot do it.
        """
        if not hasattr(_libc(), "makecontext"):
            raise OSError(errno.ENOSYS, "this C library has no makecontext")
        self._orphans = signal.SIG_IGN if wait_for_nobody else signal.SIG_DFL
        self._contexts = [ctypes.create_string_buffer(_CONTEXT) for _ in range(3)]
        self._stacks = [ctypes.create_string_buffer(_STACK) for _ in range(4)]

    def start(self, namespaces: int) -> tuple[int, int]:
        """Start one in new namespaces, as a sibling of the caller; return it and its descriptor."""
        libc = _libc()
        die, close, sleep = self._contexts
        self._plan(sleep, self._stacks[0], None, libc.pause)
        self._plan(close, self._stacks[1], sleep, libc.syscall, kernel.CLOSE_RANGE, 0, _ALL, 0)
        self._plan(die, self._stacks[2], close, libc.prctl, kernel.PR_SET_PDEATHSIG, 9, 0, 0)
        descriptor = ctypes.c_int()
        flags = namespaces | kernel.CLONE_VM | kernel.CLONE_PARENT | kernel.CLONE_PIDFD
        top = ctypes.c_void_p((ctypes.addressof(self._stacks[3]) + _STACK) & ~63)
        with self._no_handlers():
            pid = int(libc.clone(libc.setcontext, top, flags, die, ctypes.byref(descriptor)))
            number = ctypes.get_errno()
        if pid < 0:
            raise OSError(number, f"clone: {os.strerror(number)}")
        return pid, descriptor.value

    @contextlib.contextmanager
    def _no_handlers(self) -> Iterator[None]:
        """Have none in the block, and so in what is made there: they would lead into Python."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, self._orphans)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _plan(self, context: Any, stack: Any, then: Any, call: Any, *arguments: int) -> None:
        """Make `context` one call, after which comes another."""
        following = ctypes.addressof(then) if then is not None else 0
        if _libc().getcontext(context) < 0:
            raise OSError(ctypes.get_errno(), "getcontext")
        fields = (following, ctypes.addressof(stack), 0, _STACK)
        _FIELDS.pack_into(context, _FIELDS_AT, *fields)
        words = [ctypes.c_long(word) for word in arguments]
        _libc().makecontext(context, call, len(words), *words)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
