"""The first process of a sandbox's namespaces, which does nothing but exist.

When it is killed, so is everything in them. It is a chain of three calls of the C library: be
killed with the warden, close every descriptor, sleep.

A program sees it as process 1. It cannot trace, read or write it: the memory is marked as not to be
dumped, and the keeper has capabilities that no program has. Signals from inside do nothing to a
first process without handlers, and it has none. Read `Keepers.start` first.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from evalkit.sandbox import kernel
from evalkit.sandbox.chain import Chain

_ALL = 0x7FFFFFFF
_CALLS = (
    ("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    ("syscall", kernel.CLOSE_RANGE, 0, _ALL, 0),
    ("pause",),
)


class Keepers:
    """Makes one after the other: the next when the one before is dead."""

    def __init__(self, *, wait_for_nobody: bool) -> None:
        """Set memory aside. wait_for_nobody: what orphans used is counted elsewhere.

        Raises:
            OSError: the C library cannot do it.
        """
        self._orphans = signal.SIG_IGN if wait_for_nobody else signal.SIG_DFL
        self._chain = Chain(len(_CALLS))

    def start(self, namespaces: int) -> tuple[int, int]:
        """Start one in new namespaces, as a sibling of the caller; return it and its descriptor."""
        with self._no_handlers():
            return self._chain.start(_CALLS, namespaces | kernel.CLONE_PARENT | kernel.CLONE_PIDFD)

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
