"""An empty network for one run after the other: to make one takes longer than to start a process.

No interface of it is up and no program may change that, so all that a run could leave for the next
are sockets that outlive it (in flight over other sockets), labels of flows, and counters. The
kernel tells of each, and a network that a run has left a trace in is not used again.
"""

from __future__ import annotations

import os

from evalkit.sandbox import kernel

_FOLDER = "/proc/self/net"
# What tells of sockets that are there, of attempts to send, and of labels, and how much of it; the
# first goes on with what the whole machine has.
_ALL = 1 << 14
_TRACES = {"sockstat": len("sockets: used 0\n"), "snmp": _ALL, "snmp6": _ALL, "ip6_flowlabel": _ALL}


class Network:
    """Keeps the calling process, and what it starts, in a network that nobody has used."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}
        self._unused: list[bytes] = []

    def clean(self) -> None:
        """Enter a new network, unless the one that was entered last is as it was."""
        if not self._files or self._look() != self._unused:
            self._enter()

    def _enter(self) -> None:
        kernel.unshare(kernel.CLONE_NEWNET)
        while self._files:
            os.close(self._files.popitem()[0])
        for name, size in _TRACES.items():
            path = f"{_FOLDER}/{name}"
            if os.path.exists(path):  # a kernel may be without IPv6
                self._files[os.open(path, os.O_RDONLY | os.O_CLOEXEC)] = size
        self._unused = self._look()

    def _look(self) -> list[bytes]:
        return [os.pread(file, size, 0) for file, size in self._files.items()]
