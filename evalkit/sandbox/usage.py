"""How much one running sandbox has used: from its control group, or else process by process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from evalkit.sandbox.cgroups import Group

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WALK_S = 0.05


class Usage:
    """Asks the kernel about a sandbox; its processes descend from these."""

    def __init__(self, group: Group | None, pids: Iterable[int]) -> None:
        self._group = group
        self._pids = frozenset(pids)
        self._most_cpu_s = 0.0
        self._most_mb = 0.0
        self._last_mb = 0.0
        # Without a group memory is not limited by the kernel as a whole: look often.
        self.patience_s = 1.0 if group is not None else _WALK_S

    def cpu_s(self) -> float:
        """Return the processor time of all processes so far."""
        if self._group is not None:
            return self._group.cpu_s()
        self._walk()
        return self._most_cpu_s

    def final_cpu_s(self, reaped_s: float) -> float:
        """Return the same when all is dead; `reaped_s` is what somebody waited for."""
        return self._group.cpu_s() if self._group is not None else max(self._most_cpu_s, reaped_s)

    def starved_s(self) -> float:
        """Return how long one of its processes was ready to run and had no processor."""
        pids = self._group.processes() if self._group is not None else self._all()
        return max((_waited_s(pid) for pid in pids), default=0.0)

    def resident_mb(self) -> float:
        """Return the memory in use as of the last look; 0 where the kernel keeps the limit."""
        return 0.0 if self._group is not None else self._last_mb

    def peak_mb(self) -> float | None:
        """Return the most memory in use at once; without a group, the most that was seen."""
        return self._group.peak_mb() if self._group is not None else (self._most_mb or None)

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel killed a process for memory; without a group nobody knows."""
        return self._group is not None and self._group.ran_out_of_memory()

    def _all(self) -> Iterator[int]:
        return chain.from_iterable(map(_tree, self._pids))

    def _walk(self) -> None:
        cpu_ticks = pages = 0
        for pid in self._all():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
                statm = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            # utime, stime, and both of the children it waited for
            cpu_ticks += sum(int(value) for value in fields[11:15])
            # Pages of files are shared with everybody, so only what is left counts.
            resident, shared = statm.split()[1:3]
            pages += int(resident) - int(shared)
        self._last_mb = pages * _PAGE / (1 << 20)
        self._most_mb = max(self._most_mb, self._last_mb)
        self._most_cpu_s = max(self._most_cpu_s, cpu_ticks * _TICK_S)


def _waited_s(pid: int) -> float:
    """Return how long a process has waited for a processor; 0 where the kernel does not count."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))
