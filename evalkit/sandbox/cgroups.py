"""One control group for each run, where the machine lets us: version 1, version 2, or none.

A fresh group for each run, because a used one keeps counters and cached pages. Only files are
written here; who enters a group and when is decided in `warden.py`. Read `find_hierarchy` first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "evalkit-"
_V1 = ("memory", "pids", "cpuacct")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups are made: one folder per controller (version 1), or one for all (version 2)."""

    version: int
    parents: Mapping[str, Path]

    def create(self, name: str, memory_bytes: int, processes: int) -> Group:
        """Make a group with these limits."""
        folders = {key: parent / name for key, parent in self.parents.items()}
        group = Group(self.version, folders)
        for folder in set(folders.values()):
            folder.mkdir()
        try:
            _write(folders["pids"] / "pids.max", processes)
            if self.version == 2:
                _write(folders["memory"] / "memory.max", memory_bytes)
                _write_if_there(folders["memory"] / "memory.swap.max", 0)
                _write_if_there(folders["memory"] / "memory.oom.group", 1)
            else:
                _write(folders["memory"] / "memory.limit_in_bytes", memory_bytes)
                _write_if_there(folders["memory"] / "memory.memsw.limit_in_bytes", memory_bytes)
        except OSError:
            group.remove()
            raise
        return group


@dataclass(frozen=True, slots=True)
class Group:
    """One run's group."""

    version: int
    folders: Mapping[str, Path]

    @property
    def doors(self) -> tuple[str, ...]:
        """The files that lead into the group, for `enter`, by a process of one thread."""
        # Version 1 can move a single thread without stopping the forks of the whole machine.
        name = "tasks" if self.version == 1 else "cgroup.procs"
        return tuple(f"{folder}/{name}" for folder in set(self.folders.values()))

    def processes(self) -> list[int]:
        """Return what runs in it."""
        return [int(pid) for pid in _read(self.folders["pids"] / "cgroup.procs").split()]

    def cpu_s(self) -> float:
        """Return the processor time of everything that ever ran in it."""
        if self.version == 2:
            return _field(self.folders["cpuacct"] / "cpu.stat", "usage_usec") / 1e6
        return int(_read(self.folders["cpuacct"] / "cpuacct.usage")) / 1e9

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel killed a process of it for memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _field(self.folders["memory"] / name, "oom_kill") > 0

    def peak_mb(self) -> float | None:
        """Return the most memory that was in use at once; None on kernels that do not say."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        try:
            return int(_read(self.folders["memory"] / name)) / (1 << 20)
        except FileNotFoundError:
            return None

    def remove(self, patience_s: float = 2.0) -> None:
        """Delete the group. Its processes are dead; the kernel may need a moment to notice."""
        deadline = time.monotonic() + patience_s
        for folder in set(self.folders.values()):
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.001)
                else:
                    break


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
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    removed += 1
    return removed


def owner_lives(name: str) -> bool:
    """Say whether the process lives that a name `evalkit-PID-START-…` speaks of."""
    try:
        pid, started = name.removeprefix(PREFIX).split("-")[:2]
        return _started(int(pid)) == int(started)
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
    stat = _read(Path(f"/proc/{pid}/stat"))
    return int(stat.rpartition(")")[2].split()[19])


def _field(path: Path, name: str) -> int:
    for line in _read(path).splitlines():
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
