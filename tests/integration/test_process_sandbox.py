"""The process sandbox from outside: as another user, killed in mid-run, where it cannot work."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.sandbox import cgroups, kernel, wardens
from evalkit.sandbox.checks import run_checks
from evalkit.sandbox.process import open_process_sandbox
from evalkit.sandbox.seam import Conversation, SandboxFailed, SandboxUnavailable
from tests.repository.sources import ROOT

pytestmark = pytest.mark.needs("sandbox")

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

SLEEPERS = """
import anyio, sys
from evalkit.execution import Command, Ending, Limits, Ran
from evalkit.sandbox.process import open_process_sandbox

async def main():
    sandbox = await open_process_sandbox()
    python = Command(("python3", "p.py"), {"p.py": b"import time; time.sleep(60)"})
    shell = Command(("sh", "-c", "sleep 60 & setsid sleep 60 & sleep 60"))
    async with anyio.create_task_group() as tasks:
        for command in (python, shell):
            tasks.start_soon(sandbox.run, command, Limits(wall_s=60))
        await anyio.sleep(1)
        print("running", flush=True)

anyio.run(main)
"""

CHECKS = """
import anyio, json
from evalkit.sandbox.checks import run_checks
from evalkit.sandbox.process import open_process_sandbox

async def main():
    sandbox = await open_process_sandbox()
    results = await run_checks(sandbox)
    print(json.dumps([[r.name, r.contained, r.finding] for r in results]))
    await sandbox.aclose()

anyio.run(main)
"""

FORBIDDEN = """
import anyio
from evalkit.sandbox import kernel, seccomp
from evalkit.sandbox.process import open_process_sandbox
from evalkit.sandbox.seam import SandboxUnavailable

kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.install_filter(seccomp.filter_program())
try:
    anyio.run(open_process_sandbox)
except SandboxUnavailable as error:
    print(error)
"""


def until(condition: Callable[[], bool], patience_s: float = 20) -> bool:
    """Wait until something is so; say whether it came to be."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def descendants(pid: int) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found |= {int(folder.name)} | descendants(int(folder.name))
    return found


def groups() -> set[Path]:
    hierarchy = cgroups.find_hierarchy()
    parents = set(hierarchy.parents.values()) if hierarchy else set()
    return {folder for parent in parents for folder in parent.glob(f"{cgroups.PREFIX}*")}


async def open_and_close() -> None:
    sandbox = await open_process_sandbox()
    await sandbox.run(Command(("python3", "p.py"), {"p.py": b"pass"}), Limits())
    await sandbox.aclose()


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("victim", ["evalkit", "everything"])
def test_killing_it_in_mid_run_leaves_nothing_behind(victim: str) -> None:
    with started(SLEEPERS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        below = descendants(process.pid)
        wardens = {pid for pid in below if b"warden" in Path(f"/proc/{pid}/cmdline").read_bytes()}
        assert len(below) >= 8
        process.kill()
        if victim == "everything":
            for pid in wardens:
                with contextlib.suppress(ProcessLookupError):  # it was quicker
                    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    # Groups and the lobby of a warden that was killed itself are removed by the next start.
    anyio.run(open_and_close)
    own = f"{cgroups.PREFIX}{process.pid}-"
    assert not list(Path(tempfile.gettempdir()).glob(f"{own}*"))
    left = {folder.name.split("-")[1] for folder in groups()}
    assert not left & {str(pid) for pid in wardens}


REACHING = """
import os, signal
for number in range(1, 65):
    try:
        os.kill(1, number)
    except OSError:
        pass
for name in ("mem", "environ", "fd", "root", "maps", "cwd"):
    try:
        path = "/proc/1/" + name
        (os.listdir if name in ("fd", "root", "cwd") else open)(path)
    except OSError:
        continue
    print("reached", name)
for line in open("/proc/1/mountinfo"):
    print(*[word for word in (HIDDEN,) if word in line])
print(os.getpid(), flush=True)
os._exit(7)
"""


def test_the_first_process_of_a_sandbox_cannot_be_reached_from_inside() -> None:
    async def reach() -> Ran:
        sandbox = await open_process_sandbox()
        text = REACHING.replace("HIDDEN", repr(str(ROOT)))
        try:
            return await sandbox.run(
                Command(("python3", "p.py"), {"p.py": text.encode()}), Limits()
            )
        finally:
            await sandbox.aclose()

    ran = anyio.run(reach)
    assert (ran.ending, ran.code) == (Ending.EXIT, 7), ran
    assert b"reached" not in ran.stdout
    assert str(ROOT).encode() not in ran.stdout
    assert ran.stdout.split()[0] == b"2", ran.stdout


MISSING = """
from evalkit.sandbox import warden
from evalkit.sandbox.launcher import Launcher
made = Launcher._confinement
def without(launcher, run):
    return [call for call in made(launcher, run) if "CALL" not in (call[0], str(call[1:2]))]
Launcher._confinement = without
warden.main()
"""
# What a program is confined by before it starts → the call, or its first argument.
CONFINED_BY = {
    "its processes": "mount",
    "its group": "setresgid",
    "its user and capabilities": "setresuid",
    "no new privileges": f"({kernel.PR_SET_NO_NEW_PRIVS},)",
    "the filter": f"({kernel.PR_SET_SECCOMP},)",
}


@as_root
@pytest.mark.anyio
@pytest.mark.parametrize("what", CONFINED_BY)
async def test_a_program_that_could_not_be_confined_is_not_started(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    sandbox = await open_process_sandbox()
    try:
        program = Command(("sh", "-c", "echo started"), light=True)
        assert (await sandbox.run(program, Limits())).stdout == b"started\n"
        before = descendants(os.getpid())
        await sandbox._wardens.aclose()
        text = wardens._PROGRAM.replace(
            "from evalkit.sandbox.warden import main; main()",
            f"exec({MISSING.replace('CALL', CONFINED_BY[what])!r})",
        )
        monkeypatch.setattr(wardens, "_PROGRAM", text)
        with pytest.raises(SandboxFailed, match=r"could not be confined|/proc/2/status"):
            await sandbox.run(program, Limits())
        # Nothing waits for ever in its place.
        assert until(lambda: len(descendants(os.getpid())) <= len(before))
    finally:
        await sandbox.aclose()


def test_closing_it_leaves_no_process_and_no_file() -> None:
    before = descendants(os.getpid())
    anyio.run(open_and_close)
    assert descendants(os.getpid()) <= before
    own = f"{cgroups.PREFIX}{cgroups.owner()}-"
    assert not list(Path(tempfile.gettempdir()).glob(f"{own}*"))


@as_root
def test_an_ordinary_user_has_the_same_isolation() -> None:
    """With user namespaces and without a control group: another way through the same code."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        for package in ("evalkit", "tabwright"):
            shutil.copytree(ROOT / package, site / package)
        for package in ("anyio", "idna", "typing_extensions.py"):
            source = Path(sysconfig.get_paths()["purelib"], package)
            if source.is_dir():
                shutil.copytree(source, site / package)
            elif source.exists():
                shutil.copy(source, site / package)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", CHECKS],
            env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"], "PLANTED": "very-secret"},
            cwd="/",
            user=54321,
            group=54321,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout)
    assert len(results) >= 35
    assert [row for row in results if not row[1]] == []


@pytest.mark.anyio
async def test_a_machine_without_bubblewrap_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        await open_process_sandbox()


def test_a_machine_that_forbids_namespaces_is_refused() -> None:
    """Never unprotected. Our own filter, which denies namespaces, stands for such a machine."""
    done = subprocess.run(
        [sys.executable, "-c", FORBIDDEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "user.max_user_namespaces" in done.stdout, done.stderr[-2000:]


class Unprotected:
    """What the checks are there to catch: the host itself. Only for probes that do no harm."""

    name = "unprotected"
    brings_toolchains = False

    async def run(self, command: Command, limits: Limits) -> Ran:
        return await anyio.to_thread.run_sync(self._run, command, limits)

    def _run(self, command: Command, limits: Limits) -> Ran:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in command.files.items():
                Path(folder, name).write_bytes(content)
            done = subprocess.run(
                command.argv, cwd=folder, capture_output=True, timeout=limits.wall_s, check=False
            )
        seen = (done.returncode, None, done.stdout, done.stderr)
        return Ran(Ending.EXIT, *seen, cpu_s=0, wall_s=0)

    def talk(self, command: Command, limits: Limits) -> AbstractAsyncContextManager[Conversation]:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@pytest.mark.anyio
async def test_holes_are_found_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "a-very-secret-value")
    names = {
        "network",
        "host's local sockets",
        "host's files",
        "environment of others",
        "other processes",
        "privileges",
    }
    results = await run_checks(Unprotected(), only=names)
    assert {result.name for result in results} == names
    assert [result for result in results if result.contained] == []


@as_root
def test_runs_and_kills_leave_nothing_behind() -> None:
    leave_nothing("--programs", "200", "--kills", "2")


@as_root
@pytest.mark.slow
def test_ten_thousand_runs_and_twenty_kills_leave_nothing_behind() -> None:
    leave_nothing("--programs", "10000", "--kills", "20")


def leave_nothing(*words: str) -> None:
    """Run the command of the documented result; it looks for all that may be left."""
    script = ROOT / "docs" / "results" / "leaks.py"
    run = subprocess.run(
        [sys.executable, str(script), *words], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(run.stdout)
    assert report["left"] == []
    assert sum(report["run"]["endings"].values()) == int(words[1])
