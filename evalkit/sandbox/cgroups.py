"""Control groups of runs, where the machine lets us: version 1, version 2, or none.

To make and remove one costs as much as to start a process, so one of version 1 is used again and
again: its limits can be changed, and its counters begin anew or are read as differences. What stays
charged to it are a few pages of cached files; once it is more a new group is made, as it is for
each run in version 2. Only files are written here; who enters a group and when is decided in
`warden.py`. Read `find_hierarchy` first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "evalkit-"
_V1 = ("memory", "pids", "cpuacct")
# Of earlier runs, in a group that is used again.
_MOST_LEFT = 8 << 20
# Below a millisecond the kernel needs to let go of the last process.
_LOOK_AGAIN_S = 0.0005


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups are made: one folder per controller (version 1), or one for all (version 2)."""

    version: int
    parents: Mapping[str, Path]

    def create(self, name: str, memory_bytes: int, processes: int) -> Group:
        """Make a group with these limits."""
        folders = {key: parent / name for key, parent in self.parents.items()}
        for folder in set(folders.values()):
            folder.mkdir()
        group = Group(self.version, folders)
        try:
            group.limit(memory_bytes, processes)
        except OSError:
            group.remove()
            raise
        return group


class Group:
    """A group that one run after the other is in, or only one."""

    def __init__(self, version: int, folders: Mapping[str, Path]) -> None:
        self._version = version
        self._folders = folders
        self._limits = (0, 0)
        # What was there before the run.
        self._cpu_ns = self._left = self._kills = 0
        self._open: dict[tuple[str, str], int] = {}

    @property
    def doors(self) -> tuple[int, ...]:
        """Open files that lead into the group, where a process of one thread writes 0."""
        # Version 1 can move a single thread without stopping the forks of the whole machine.
        name = "tasks" if self._version == 1 else "cgroup.procs"
        keys = {folder: key for key, folder in self._folders.items()}.values()
        return tuple(self._file(key, name, os.O_WRONLY) for key in keys)

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Set the limits, where they are not what they were."""
        if (memory_bytes, processes) == self._limits:
            return
        folder = self._folders["memory"]
        _write(self._folders["pids"] / "pids.max", processes)
        if self._version == 2:
            _write(folder / "memory.max", memory_bytes)
            _write_if_there(folder / "memory.swap.max", 0)
            _write_if_there(folder / "memory.oom.group", 1)
        else:
            # Neither may cross the other on its way.
            _write_if_there(folder / "memory.memsw.limit_in_bytes", -1)
            _write(folder / "memory.limit_in_bytes", memory_bytes)
            _write_if_there(folder / "memory.memsw.limit_in_bytes", memory_bytes)
        self._limits = (memory_bytes, processes)

    def begin_again(self, memory_bytes: int, processes: int) -> bool:
        """Get ready for another run; False where that run has to have a new group."""
        if self._version == 2:
            return False
        left = self._number("memory", "memory.usage_in_bytes")
        if left > _MOST_LEFT:
            return False
        try:
            self.limit(memory_bytes, processes)
        except OSError:
            return False
        os.pwrite(self._file("memory", "memory.max_usage_in_bytes", os.O_RDWR), b"0", 0)
        self._left, self._kills = left, self._killed()
        self._cpu_ns = self._number("cpuacct", "cpuacct.usage")
        return True

    def processes(self) -> list[int]:
        """Return what runs in it."""
        return [int(pid) for pid in _read(self._folders["pids"] / "cgroup.procs").split()]

    def cpu_s(self) -> float:
        """Return the processor time of everything that was in it during the run."""
        if self._version == 2:
            return _field(self._text("cpuacct", "cpu.stat"), "usage_usec") / 1e6
        return (self._number("cpuacct", "cpuacct.usage") - self._cpu_ns) / 1e9

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel killed a process of the run for memory."""
        return self._killed() > self._kills

    def peak_mb(self) -> float | None:
        """Return the most memory that was in use at once; None on kernels that do not say."""
        name = "memory.peak" if self._version == 2 else "memory.max_usage_in_bytes"
        try:
            return max(0, self._number("memory", name) - self._left) / (1 << 20)
        except FileNotFoundError:
            return None

    def wait_until_empty(self, patience_s: float = 2.0) -> None:
        """Return when nothing of the run is left. All of it is dead, and the kernel may be slow.

        Raises:
            OSError: something is left.
        """
        deadline = time.monotonic() + patience_s
        while left := self._number("pids", "pids.current"):
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, f"{left} processes in a control group are not dead")
            time.sleep(_LOOK_AGAIN_S)

    def remove(self, patience_s: float = 2.0) -> None:
        """Delete the group. Its processes are dead; the kernel may need a moment to notice."""
        while self._open:
            os.close(self._open.popitem()[1])
        deadline = time.monotonic() + patience_s
        for folder in set(self._folders.values()):
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_LOOK_AGAIN_S)
                else:
                    break

    def _killed(self) -> int:
        name = "memory.events" if self._version == 2 else "memory.oom_control"
        return _field(self._text("memory", name), "oom_kill")

    def _number(self, key: str, name: str) -> int:
        return int(self._text(key, name))

    def _text(self, key: str, name: str) -> str:
        flags = os.O_RDWR if name == "memory.max_usage_in_bytes" else os.O_RDONLY
        return os.pread(self._file(key, name, flags), 4096, 0).decode()

    def _file(self, key: str, name: str, flags: int) -> int:
        """Open a file once: to find it costs more than to read it."""
        if (key, name) not in self._open:
            path = self._folders[key] / name
            self._open[key, name] = os.open(path, flags | os.O_CLOEXEC)
        return self._open[key, name]


def enter(doors: Iterable[str]) -> None:
    """Move the calling process into a group."""
    for door in doors:
        _write(door, 0)


def find_hierarchy() -> Hierarchy | None:
    """Return the place where this process may make groups with limits; None where it may not."""
    for candidate in _candidates():
        try:
            candidate.create(f"{PREFIX}{owner()}-try", 64 << 20, 8).remove()
        except OSError:
            continue
        return candidate
    return None


def owner() -> str:
    """Return what tells the calling process from every other one, before and after it."""
    return f"{os.getpid()}-{_started(os.getpid())}"


def remove_stale(hierarchy: Hierarchy) -> int:
    """Delete the groups of processes that are no more; return how many there were."""
    removed = 0
    for parent in set(hierarchy.parents.values()):
        for folder in parent.glob(f"{PREFIX}*"):
            if not owner_lives(folder.name):
                # What it ran may still be dying.
                with contextlib.suppress(OSError):
                    Group(hierarchy.version, {"": folder}).remove(patience_s=1.0)
                    removed += 1
    return removed


def owner_lives(name: str) -> bool:
    """Say whether the process lives that a name `evalkit-PID-START-…` speaks of."""
    try:
        pid, started = name.removeprefix(PREFIX).split("-")[:2]
        # Dead is also what nobody has waited for yet.
        return _stat(int(pid))[0] not in "ZX" and _started(int(pid)) == int(started)
    except (OSError, ValueError):
        return False


def _candidates() -> Iterator[Hierarchy]:
    mounts = _mounts()
    own = _own_groups()
    if all(controller in mounts for controller in _V1):
        roots = {c: mounts[c] for c in _V1}
        yield Hierarchy(1, {c: _below(roots[c], own.get(c, "/")) for c in _V1})
        yield Hierarchy(1, roots)
    if "" in mounts:
        for parent in (_below(mounts[""], own.get("", "/")), mounts[""]):
            # Where the controllers are not handed down yet, root may hand them down.
            with contextlib.suppress(OSError):
                _write(parent / "cgroup.subtree_control", "+memory +pids")
            yield Hierarchy(2, dict.fromkeys(_V1, parent))


def _mounts() -> dict[str, Path]:
    """Return controller → mount point; version 2 under the empty name."""
    found: dict[str, Path] = {}
    for line in _read(Path("/proc/self/mounts")).splitlines():
        _, point, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found.setdefault("", Path(point))
        elif kind == "cgroup":
            for option in options.split(","):
                found.setdefault(option, Path(point))
    return found


def _own_groups() -> dict[str, str]:
    groups = {}
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _below(root: Path, path: str) -> Path:
    folder = root / path.lstrip("/")
    return folder if folder.is_dir() else root


def _started(pid: int) -> int:
    """Return when a process started, in ticks since boot."""
    return int(_stat(pid)[19])


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process behind its name, the state first."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b"")).decode(errors="replace")
    finally:
        os.close(descriptor)


def _write(path: Path | str, value: int | str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def _write_if_there(path: Path, value: int) -> None:
    if path.exists():
        _write(path, value)
