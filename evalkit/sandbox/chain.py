"""Processes that run no interpreter: all they do is call the C library, one call after the other.

Such a process shares the memory of the one that makes it, which is a tenth of the price of a fork.
Nobody looks at what a call returns, so the maker has to look at what came of it. The last call must
be one that never returns. Read `Chain.start` first.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Sequence

from evalkit.sandbox import kernel

# The name of a function of the C library, and up to six integers.
Call = tuple[str | int, ...]

# A `ucontext_t` is smaller on all machines; how its fields begin is the same on all.
_CONTEXT = 8192
_STACK = 8192
_FIELDS = struct.Struct("@PPiN")  # the next one; the stack's address, flags and size
_FIELDS_AT = struct.calcsize("@N")


class Chain:
    """Room for the calls of one process; for another one when the one before is done with it."""

    def __init__(self, most: int) -> None:
        """Set memory aside for so many calls.

        Raises:
            OSError: the C library cannot do it.
        """
        libc = _libc()
        if not hasattr(libc, "makecontext"):
            raise OSError(errno.ENOSYS, "this C library has no makecontext")
        self._memory = ctypes.create_string_buffer(most * (_CONTEXT + _STACK) + _STACK)
        start = ctypes.addressof(self._memory)
        stacks = start + most * _CONTEXT
        self._top = ctypes.c_void_p((stacks + most * _STACK + _STACK) & ~63)
        self._contexts = [ctypes.c_void_p(start + at * _CONTEXT) for at in range(most)]
        for at, context in enumerate(self._contexts):
            if libc.getcontext(context) < 0:
                raise OSError(ctypes.get_errno(), "getcontext")
            following = self._contexts[at + 1].value if at + 1 < most else 0
            fields = (following, stacks + at * _STACK, 0, _STACK)
            _FIELDS.pack_into(self._memory, at * _CONTEXT + _FIELDS_AT, *fields)

    def start(self, calls: Sequence[Call], flags: int) -> tuple[int, int]:
        """Start a process that makes these calls; return it and, where asked for, its descriptor.

        flags: of `clone`, besides the one that shares memory. Addresses among the arguments must
        stay valid until the call.

        Raises:
            OSError: the kernel refused the process.
        """
        libc = _libc()
        contexts = self._contexts[len(self._contexts) - len(calls) :]
        for context, (name, *arguments) in zip(contexts, calls, strict=True):
            words = [ctypes.c_long(word) for word in arguments]  # type: ignore[arg-type]
            libc.makecontext(context, getattr(libc, str(name)), len(words), *words)
        descriptor = ctypes.c_int(-1)
        flags |= kernel.CLONE_VM
        pid = libc.clone(libc.setcontext, self._top, flags, contexts[0], ctypes.byref(descriptor))
        if pid < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"clone: {os.strerror(number)}")
        return int(pid), descriptor.value


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
