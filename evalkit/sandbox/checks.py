"""What every sandbox must hold against, run for real: `evalkit doctor` and the tests call this.

Hostile programs (`probes.py`) look for holes from inside; from outside we look for what is left of
them. Whether programs are judged rightly is not asked here. Read `run_checks` first.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.sandbox.probes import ENDING, HEAD, HONEST, LEAVING, LOOKING_FOR_LEFT
from evalkit.sandbox.seam import Sandbox
from evalkit.sandbox.seccomp import DENIED

LIMITS = Limits(cpu_s=5, wall_s=60, memory_mb=512, processes=48, disk_mb=16, files=512)
# For programs that never end: as long as it takes to be sure.
SHORT = Limits(cpu_s=0.5, wall_s=20, memory_mb=128, processes=48, disk_mb=16, files=512)
ASLEEP = Limits(cpu_s=5, wall_s=0.5, memory_mb=128, processes=48)

_CLONE = {"x86_64": 56, "aarch64": 220}
# How each sandbox runs Python: warm where it can, and in both ways as any other program.
_ANEW = ("python3", "-X", "utf8")
_WAYS = {
    "process": {
        "": (("python3",), False),
        ", started anew": (_ANEW, False),
        ", started light": (_ANEW, True),
    }
}
# Engines drop rules for calls that their library does not know yet; these only tell of mounts that
# a program sees anyhow.
_UNKNOWN_TO_ENGINES = {"docker": ("statmount", "listmount")}
_LEAST_SECRET = 8
_GONE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. finding: one line, what was tried or the hole that was found."""

    name: str
    contained: bool
    finding: str


async def run_checks(
    sandbox: Sandbox,
    report: Callable[[CheckResult], None] = lambda _: None,
    only: Collection[str] = (),
) -> list[CheckResult]:
    """Run every check, or `only` the probes of these names; call `report` after each.

    Raises:
        SandboxFailed: the sandbox broke, which is no finding about isolation.
    """
    results = []
    async for result in _results(sandbox, only):
        report(result)
        results.append(result)
    return results


async def _results(sandbox: Sandbox, only: Collection[str]) -> AsyncIterator[CheckResult]:
    with _bait() as given:
        for suffix, way in _WAYS.get(sandbox.name, {"": (("python3",), False)}).items():
            check = _Check(sandbox, way, suffix, given)
            for name, source in HONEST.items():
                if not only or name in only:
                    yield await check.honest(name, source)
            if only:
                continue
            for name, (source, endings) in ENDING.items():
                yield await check.ending(name, source, endings)
            yield await check.links()
            yield await check.previous_run()
            yield await check.left_behind()


class _Check:
    """Runs probes in one way."""

    def __init__(
        self,
        sandbox: Sandbox,
        way: tuple[tuple[str, ...], bool],
        suffix: str,
        given: dict[str, Any],
    ) -> None:
        self._sandbox = sandbox
        self._interpreter, self._light = way
        self._suffix = suffix
        self._given = given

    async def honest(self, name: str, source: str) -> CheckResult:
        """Run a probe that says itself what it finds."""
        ran = await self._run(source, LIMITS)
        holes = [line for line in ran.stdout.decode(errors="replace").splitlines() if line]
        if not holes and not ran.succeeded:
            last = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            holes = [f"the probe itself ended with {_how(ran)}: {last}"]
        return self._result(name, not holes, holes[0] if holes else "nothing got through")

    async def ending(self, name: str, source: str, endings: tuple[str, ...]) -> CheckResult:
        """Run a probe that the sandbox has to end."""
        limits = ASLEEP if endings == ("wall_time",) else SHORT
        ran = await self._run(source, limits)
        contained = ran.ending in endings and not ran.succeeded
        return self._result(name, contained, f"ended by {_how(ran)}")

    async def links(self) -> CheckResult:
        """Collect what is no plain file of the program's own."""
        secret = self._given["hidden"][0]
        names = ("link", "folder/link", "fifo", "device")
        source = (
            f"os.symlink({secret!r}, 'link'); os.symlink('/', 'folder'); os.mkfifo('fifo')\n"
            "os.symlink('/dev/zero', 'device')\n"
        )
        ran = await self._run(source, LIMITS, (*names, "folder" + secret))
        found = ", ".join(ran.files)
        return self._result("links out of the folder", not found, found or "none was followed")

    async def previous_run(self) -> CheckResult:
        """Look for what an earlier program left."""
        await self._run(LEAVING, LIMITS)
        return await self.honest("an earlier run", LOOKING_FOR_LEFT)

    async def left_behind(self) -> CheckResult:
        """Look on the machine itself for processes of all the probes before."""
        left = await anyio.to_thread.run_sync(_left_after_a_moment, self._given["mark"])
        finding = f"{len(left)} processes left" if left else "no process left"
        return self._result("left behind", not left, finding)

    async def _run(self, source: str, limits: Limits, collect: tuple[str, ...] = ()) -> Ran:
        given = {
            **self._given,
            "processes": limits.processes,
            "disk": limits.disk_mb << 20,
            "files": limits.files,
            "memory": limits.memory_mb << 20,
        }
        for name in _UNKNOWN_TO_ENGINES.get(self._sandbox.name, ()):
            given["denied"] = {k: v for k, v in given["denied"].items() if k != name}
        files = {"probe.py": (HEAD + source).encode(), "given.json": json.dumps(given).encode()}
        words = (*self._interpreter, "probe.py")
        command = Command(words, files, collect=collect, light=self._light)
        return await self._sandbox.run(command, limits)

    def _result(self, name: str, contained: bool, finding: str) -> CheckResult:
        return CheckResult(name + self._suffix, contained, finding)


@contextmanager
def _bait() -> Iterator[dict[str, Any]]:
    """Put up what no program may reach, and say where it is."""
    mark = f"probe-{secrets.token_hex(4)}"
    column = 1 if platform.machine() == "aarch64" else 0
    with (
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as local,
        tempfile.NamedTemporaryFile(prefix=mark) as file,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as outside,
    ):
        local.bind(f"\0{mark}")
        local.listen()
        try:
            yield {
                "mark": mark,
                "port": port.getsockname()[1],
                "hidden": [file.name, *_private_paths()],
                "secrets": [hashlib.sha256(v.encode()).hexdigest() for v in _private_values()],
                "outside": [os.getpid(), outside.pid],
                "clone": _CLONE[platform.machine()],
                "denied": {name: at[column] for name, at in DENIED.items() if at[column]},
            }
        finally:
            outside.kill()


def _private_paths() -> list[str]:
    package = Path(__file__).resolve().parent.parent
    return [str(package / "cli.py"), str(package / "benchmarks"), os.path.expanduser("~/.ssh")]


def _private_values() -> list[str]:
    """Return the values of evalkit's own environment that no sandbox has by itself."""
    public = ("/usr", "/bin", "C.UTF-8", "en_US", "/tmp")
    values = os.environ.values()
    return [v for v in values if len(v) >= _LEAST_SECRET and not v.startswith(public)]


def _left_after_a_moment(mark: str) -> list[int]:
    deadline = time.monotonic() + _GONE_WITHIN_S
    while (left := _processes_named(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _processes_named(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "comm").read_text(encoding="utf-8", errors="replace").strip() == name:
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def _how(ran: Ran) -> str:
    if ran.ending is Ending.EXIT:
        return f"exit status {ran.code}"
    return f"signal {ran.signal}" if ran.ending is Ending.SIGNAL else ran.ending.value
