"""Run many programs, and kill evalkit in mid-run: nothing may be left.

    python docs/results/leaks.py >docs/results/leaks.json

Looks for processes, control groups, files and mounts that are left, and at our own memory and
descriptors as the number of programs grows. Exit status 1 when anything is found. Needs root, whose
sandboxes have users of their own, by which their processes are found. Read `main` first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from evalkit.execution import Command, Limits
from evalkit.sandbox import cgroups
from evalkit.sandbox.process import ProcessSandbox, open_process_sandbox

_LIMITS = Limits(cpu_s=5, wall_s=120, memory_mb=256)
_WITHIN_S = 20.0
# Memory of ours after the first tenth of the programs may grow by so much until the last.
_GROWTH_MB = 8.0
_FIRST_SANDBOX_USER = 1_900_000_000
_DAEMON = "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(3600)"
_FILES = "for p in ('.', '/tmp', '/dev/shm'):\n    open(p + '/left', 'wb').write(bytes(1 << 16))"
_PROGRAMS = (
    "pass",
    "print('x' * 10_000)",
    "raise ValueError",
    "import os; os.abort()",
    "import os; os._exit(3)",
    "x = bytearray(8 << 20)",
    _DAEMON,
    _FILES,
)
_VICTIM = """
import anyio, runpy
leaks = runpy.run_path({path!r})
anyio.run(leaks["run_for_ever"])
"""


def main() -> int:
    """Run, kill, look, and print."""
    parser = argparse.ArgumentParser(description="Look for what untrusted programs leave behind.")
    parser.add_argument("--programs", type=int, default=10_000, help="to run (default 10,000)")
    parser.add_argument("--kills", type=int, default=20, help="of evalkit (default 20)")
    args = parser.parse_args()
    if os.getuid() != 0:
        raise SystemExit("run it as root")
    began = time.monotonic()
    ran = anyio.run(_run_many, args.programs)
    killed = [_killed(everything=bool(number % 2)) for number in range(args.kills)]
    found = ran["left"] + [thing for kill in killed for thing in kill["left"]]
    report = {
        "where": _where(),
        "command": " ".join(["python", "docs/results/leaks.py", *sys.argv[1:]]),
        "seconds": round(time.monotonic() - began),
        "run": ran,
        "killed": killed,
        "left": found,
    }
    print(json.dumps(report, indent=2))
    return 1 if found else 0


async def _run_many(programs: int) -> dict[str, Any]:
    """Run programs that end well, badly and not at all; measure ourselves ten times."""
    sandbox = await open_process_sandbox()
    numbers, measured = iter(range(programs)), [_own()]
    endings: dict[str, int] = {}

    async def one_place() -> None:
        for number in numbers:
            if number and number % max(1, programs // 10) == 0:
                measured.append({"programs": number, **_own()})
                print(measured[-1], file=sys.stderr)
            ran = await sandbox.run(_command(number), _LIMITS)
            how = f"{ran.ending} {ran.code if ran.signal is None else ran.signal}"
            endings[how] = endings.get(how, 0) + 1

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(len(os.sched_getaffinity(0))):
                tasks.start_soon(one_place)
        measured.append({"programs": programs, **_own()})
        # While the wardens live, they, what they are forked from and an empty group for each may be
        # there, and no more.
        left = [f"process {pid} of a sandbox" for pid in _of_sandboxes(os.getpid())]
        groups = _groups(_below(os.getpid()))
        left += [f"group {g}, not empty" for g in groups if (g / "cgroup.procs").read_text()]
        owners = {(g.parent, g.name.rpartition("-")[0]) for g in groups}
        left += [f"{len(groups)} groups of {len(owners)}"] * (len(groups) > len(owners))
    finally:
        await sandbox.aclose()
    left += _left({os.getpid()}, {}) + [f"file {path}" for path in _files({os.getpid()})]
    first, last = measured[1], measured[-1]
    for name, room in (("descriptors", 0), ("mounts", 0), ("resident_mb", _GROWTH_MB)):
        if last[name] > first[name] + room:
            left.append(f"{name}: {first[name]} became {last[name]}")
    return {"programs": programs, "endings": endings, "own": measured, "left": left}


def _command(number: int) -> Command:
    """One of the programs; of forty one goes through bubblewrap, and another is light."""
    files = {"main.py": _PROGRAMS[number % len(_PROGRAMS)].encode()}
    anew = number % 40 in (0, 21)
    words = ("python3", "-X", "utf8", "main.py") if anew else ("python3", "main.py")
    return Command(words, files, light=number % 40 == 21)


async def run_for_ever() -> None:
    """Run programs, some of which never end, until somebody kills us."""
    sandbox = await open_process_sandbox()
    async with anyio.create_task_group() as tasks:
        for place in range(4):
            tasks.start_soon(_run_place, sandbox, place)


async def _run_place(sandbox: ProcessSandbox, place: int) -> None:
    spin = Command(("python3", "main.py"), {"main.py": f"{_DAEMON}\nwhile True: pass".encode()})
    for number in range(place, sys.maxsize):
        if place == 0 and number == place:
            print("running", flush=True)
        await sandbox.run(spin if place == 1 else _command(number), _LIMITS)


def _killed(*, everything: bool) -> dict[str, Any]:
    """Kill evalkit at some moment, alone or with its wardens; say what is left of it."""
    code = _VICTIM.format(path=str(Path(__file__).resolve()))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.2, 1.5))
        process.send_signal(signal.SIGSTOP)
        below = {pid: _birth(pid) for pid in _below(process.pid)}
        process.kill()
        for pid in below if everything else ():
            if _user(pid) == 0:
                _kill(pid)
    if everything:
        # Nobody is there any more who could remove their groups: the next start does.
        _until(lambda: not _alive(below))
        anyio.run(_open_and_close)
    owners = {process.pid, *below}
    left = _left(owners, below)
    # The empty folder that evalkit made waits for the next start in both cases.
    anyio.run(_open_and_close)
    left += [f"file {path}" for path in _files(owners)]
    return {"killed": "everything" if everything else "evalkit", "below": len(below), "left": left}


async def _open_and_close() -> None:
    await (await open_process_sandbox()).aclose()


def _left(owners: set[int], processes: dict[int, str]) -> list[str]:
    """Name what is left of these processes, once they have had a moment."""

    def look() -> list[str]:
        found = [f"process {pid}" for pid in _alive(processes)]
        for owner in owners:
            found += [f"process {pid} of a sandbox" for pid in _of_sandboxes(owner)]
        found += [f"group {folder.name}" for folder in _groups(owners)]
        found += [f"mount {line}" for o in owners for line in _mounts(f"{cgroups.PREFIX}{o}-")]
        return found

    _until(lambda: not look())
    return look()


def _files(owners: set[int]) -> list[Path]:
    """Folders that these processes made."""
    temporary = Path(tempfile.gettempdir())
    return [path for owner in owners for path in temporary.glob(f"{cgroups.PREFIX}{owner}-*")]


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)


def _own() -> dict[str, Any]:
    """Measure this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "resident_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mounts": len(_mounts("")),
        "processes_below": len(_below(os.getpid())),
    }


def _mounts(word: str) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if word in line]


def _groups(owners: set[int]) -> list[Path]:
    """The folders of the control groups of these wardens."""
    hierarchy = cgroups.find_hierarchy()
    parents = set(hierarchy.parents.values()) if hierarchy else set()
    prefixes = tuple(f"{cgroups.PREFIX}{owner}-" for owner in owners)
    return [p for parent in parents for p in parent.iterdir() if p.name.startswith(prefixes)]


def _of_sandboxes(owner: int) -> list[int]:
    """The processes of a warden's sandboxes, or of those of all wardens below a process."""
    users = {_FIRST_SANDBOX_USER + pid for pid in {owner, *_below(owner)}}
    return [pid for pid in _processes() if _user(pid) in users]


def _below(pid: int) -> set[int]:
    """All descendants of a process."""
    children: dict[int, list[int]] = {}
    for other in _processes():
        children.setdefault(_parent(other), []).append(other)
    found, waiting = set(), [pid]
    while waiting:
        more = children.get(waiting.pop(), [])
        found.update(more)
        waiting += more
    return found


def _alive(processes: dict[int, str]) -> list[int]:
    """Those that live, of processes and when each was born: numbers are used again."""
    return [pid for pid, birth in processes.items() if birth and _birth(pid) == birth]


def _birth(pid: int) -> str:
    """When a process was started, in ticks since boot; nothing when it is dead."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] not in "ZX" else ""


def _processes() -> Iterator[int]:
    return (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else -1


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process after its name; nothing when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _user(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return -1


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _where() -> dict[str, Any]:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    words = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
    }


if __name__ == "__main__":
    sys.exit(main())
