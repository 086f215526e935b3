"""Whether a language's programs are on this machine, and how to get them.

Programs come from Debian, or from npm into a folder of the user's cache; nothing else is searched,
because nothing else is visible inside a sandbox. Read `status` first.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evalkit.runtimes import Runtime, load_runtime, runtime_names
from evalkit.sandbox.mounts import Toolchain
from tabwright.errors import Unavailable

_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_VERSION_S = 60


class ToolchainMissing(Unavailable):
    """A language cannot be compiled or run here; the message says how to install it."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Status:
    """What is there of one language. missing: the programs that were not found."""

    language: str
    missing: tuple[str, ...]
    version: str = ""

    @property
    def installed(self) -> bool:
        """Whether all of it is there."""
        return not self.missing


def npm_folder(language: str) -> Path:
    """The folder that a language's npm packages are installed in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tabwright" / "toolchains" / language


def search_path(runtime: Runtime) -> tuple[str, ...]:
    """The folders that programs are looked for in, outside and inside of a sandbox."""
    own = (
        (str(npm_folder(runtime.name) / "node_modules" / ".bin"),) if runtime.toolchain.npm else ()
    )
    return (*own, *_SYSTEM_PATH)


def missing_programs(runtime: Runtime) -> tuple[str, ...]:
    """The programs that are not there."""
    return _not_found(_programs(runtime), search_path(runtime))


def status(runtime: Runtime) -> Status:
    """Look for one language's programs, and ask the version of those that are there."""
    missing = missing_programs(runtime)
    return Status(runtime.name, missing, "" if missing else _version(runtime))


def require(runtime: Runtime) -> None:
    """Make sure that a language can be used.

    Raises:
        ToolchainMissing: it cannot.
    """
    if missing := _looked_for(_programs(runtime), search_path(runtime)):
        raise ToolchainMissing(_advice(runtime, missing))


def lacks(language: str) -> str:
    """Say why a language cannot be judged here; nothing if it can."""
    runtime = load_runtime(language)
    missing = missing_programs(runtime) if _executed(runtime) else ()
    return _advice(runtime, missing) if missing else ""


def _advice(runtime: Runtime, missing: tuple[str, ...]) -> str:
    return (
        f"{runtime.name}: {', '.join(missing)} not found in {':'.join(search_path(runtime))}; "
        f"run: evalkit toolchains install --lang {runtime.name}"
    )


def sandbox_toolchains() -> dict[str, Toolchain]:
    """What each language's programs see of the machine besides the system's own."""
    made = {}
    for name in runtime_names():
        runtime = load_runtime(name)
        if not _executed(runtime):
            continue
        own = search_path(runtime)[: -len(_SYSTEM_PATH)]
        folders = (str(npm_folder(name)),) if own else ()
        binds = [path for pattern in runtime.toolchain.binds for path in glob.glob(pattern)]
        made[name] = Toolchain(binds=(*folders, *binds), path=own)
    return made


def install_commands(runtimes: Iterable[Runtime]) -> list[list[str]]:
    """The commands that bring what is missing, in their order; none when nothing is.

    Raises:
        ToolchainMissing: nothing known here can install on this machine.
    """
    debian: set[str] = set()
    from_npm: list[Runtime] = []
    for runtime in runtimes:
        missing = set(missing_programs(runtime))
        if missing & set(runtime.toolchain.programs):
            debian |= set(runtime.toolchain.debian)
        if missing & set(runtime.toolchain.npm_programs):
            from_npm.append(runtime)
    if from_npm and shutil.which("npm") is None:
        debian.add("npm")
    packages = sorted(debian)
    commands: list[list[str]] = []
    if packages:
        prefix = _as_root(packages)
        commands.append([*prefix, "apt-get", "update", "-q"])
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]
        commands.append([*prefix, *quiet, *install, *packages])
    for runtime in from_npm:
        folder = ["--prefix", str(npm_folder(runtime.name)), "--no-audit", "--no-fund"]
        commands.append(["npm", "install", *folder, *runtime.toolchain.npm])
    return commands


def _as_root(packages: Iterable[str]) -> list[str]:
    if shutil.which("apt-get") is None:
        names = " ".join(packages)
        raise ToolchainMissing(f"apt-get is not here; install what corresponds to: {names}")
    if os.getuid() == 0:
        return []
    if shutil.which("sudo") is None:
        raise ToolchainMissing(f"run as root: apt-get install {' '.join(packages)}")
    return ["sudo"]


def _executed(runtime: Runtime) -> bool:
    """Whether programs of its own are needed; evalkit's interpreter runs Python."""
    return runtime.run is not None or runtime.browser is not None


def _programs(runtime: Runtime) -> tuple[str, ...]:
    return runtime.toolchain.programs + runtime.toolchain.npm_programs


def _not_found(programs: tuple[str, ...], folders: tuple[str, ...]) -> tuple[str, ...]:
    path = os.pathsep.join(folders)
    return tuple(program for program in programs if shutil.which(program, path=path) is None)


# Asked for each sample.
_looked_for = cache(_not_found)


def _version(runtime: Runtime) -> str:
    """The first line of what the version command says; the path is a sandbox's."""
    env = {**os.environ, "PATH": os.pathsep.join(search_path(runtime)), **runtime.toolchain.env}
    try:
        done = subprocess.run(
            runtime.toolchain.version,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return lines[0].strip() if lines else "?"


def chosen(text: str) -> list[Runtime]:
    """The runtimes that a `--lang` names: comma-separated, or all.

    Raises:
        UnknownLanguage: one of them has no runtime.
        ConfigError: the file of one is wrong.
    """
    names = runtime_names() if text == "all" else [part.strip() for part in text.split(",")]
    return [load_runtime(name) for name in names if name]
