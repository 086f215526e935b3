"""The private environment of a real Triton server: nvidia-pytriton's wheel and what its stub needs.

The wheel carries a whole `tritonserver` 24.10 with the Python backend, and wants numpy below 2, so
it never enters the gateway's own environment. It lies beside it, in `triton-server` under
`sys.prefix`, is made on first use, and borrows the gateway's torch. Read `ensure` first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from server.tritonserver.alone import alone
from tabwright.errors import MissingExtra, Unavailable

PYTRITON = "nvidia-pytriton==0.7.0"
RELEASE = "24.10"
REQUIREMENTS = Path(__file__).parents[2] / "model_repository" / "local_llm" / "requirements.txt"
_INSTALL_S = 900
# pip's own bounds: a registry that does not answer ends the installation instead of hanging it.
_BOUNDS = {"PIP_DEFAULT_TIMEOUT": "60", "PIP_RETRIES": "3", "PIP_NO_INPUT": "1"}


class NoTriton(Unavailable):
    """No Triton server can be had or started here; the message says why, and what helps."""


def unsupported() -> str | None:
    """Why the wheel cannot run on this machine, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"the Triton wheel is for Linux on x86_64, this is {platform.system()} on " + (
            platform.machine() or "an unknown processor"
        )
    if sys.version_info >= (3, 13):
        return (
            "the Triton wheel needs numpy below 2, which Python "
            f"{platform.python_version()} has no wheel of; use Python 3.11 or 3.12"
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35):
        return f"the Triton wheel needs glibc 2.35 (Debian 12, Ubuntu 22.04), this is {name} " + (
            version or "of an unknown version"
        )
    return None


def folder() -> Path:
    """Where the environment lies, whether or not it has been made."""
    return Path(sys.prefix) / "triton-server"


def python() -> Path:
    """Its interpreter, which has the transformers of TensorRT-LLM's container."""
    return folder() / "bin" / "python"


def installed() -> bool:
    """Whether it is there, whole, and of the versions that are wanted now."""
    return (folder() / f".ready-{_key()}").is_file()


def ensure() -> float:
    """Make the environment unless it is there; return the seconds it took.

    Raises:
        NoTriton: it cannot be had here, or pip failed.
        MissingExtra: there is no torch to borrow.
    """
    if reason := unsupported():
        raise NoTriton(reason)
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", "train,triton")
    if installed():
        return 0.0
    started = time.perf_counter()
    with alone(Path(sys.prefix) / ".triton-server.lock"):
        if not installed():  # another process may have been faster
            _install()
    return time.perf_counter() - started


def triton() -> Path:
    """The folder of the server inside the wheel."""
    [found] = folder().glob("lib/python3.*/site-packages/pytriton/tritonserver")
    return found


def link_backend(target: Path) -> None:
    """Make a folder with the Python backend: the wheel's own lacks the stub of this Python.

    Raises:
        NoTriton: the stub lacks a library, most often a Python that was built without a shared one.
    """
    source = triton()
    minor = source.parents[2].name.removeprefix("python")
    stub = "triton_python_backend_stub"
    files = [*(source / "backends" / "python").iterdir()]
    files = [file for file in files if file.name != stub]
    files.append(source / "python_backend_stubs" / minor / stub)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in files:
        (target / file.name).symlink_to(file)
    told = subprocess.run(
        ["ldd", files[-1]], env=variables(), capture_output=True, text=True, timeout=30, check=False
    )
    if missing := [row.split()[0] for row in told.stdout.splitlines() if "not found" in row]:
        raise NoTriton(
            f"Triton's Python stub lacks {', '.join(missing)}; use a Python with a shared library, "
            f"or install the system's (Debian: libpython{minor})"
        )


def variables() -> dict[str, str]:
    """Environment variables of the server; `PATH` is what selects the stub's environment."""
    own = ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD")
    return {name: value for name, value in os.environ.items() if name not in own} | {
        "PATH": f"{folder() / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
        "OMP_NUM_THREADS": "1",
    }


def _key() -> str:
    wanted = f"{PYTRITON} {sys.version_info[:2]} {folder()}"
    return hashlib.sha256(REQUIREMENTS.read_bytes() + wanted.encode()).hexdigest()[:16]


def _install() -> None:
    target = folder()
    shutil.rmtree(target, ignore_errors=True)
    pip: list[str | Path] = [python(), "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "-q"]
    _run([sys.executable, "-m", "venv", target])
    _run([*install, "-r", REQUIREMENTS])
    _run([*install, "--no-deps", PYTRITON])
    [packages] = target.glob("lib/python3.*/site-packages")
    # Named last in the alphabet, read last: torch comes from there, numpy does not.
    (packages / "zz-torch-of-the-gateway.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (target / f".ready-{_key()}").touch()


def _run(command: list[str | Path]) -> None:
    try:
        done = subprocess.run(
            command, env=_BOUNDS | os.environ, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=_INSTALL_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoTriton(f"installing {PYTRITON} took over {_INSTALL_S} s; try again") from None
    if done.returncode:
        told = [row for row in (done.stderr + done.stdout).splitlines() if "ERROR" in row]
        reason = (told or [f"exit code {done.returncode}"])[-1].removeprefix("ERROR: ")
        raise NoTriton(f"{PYTRITON} could not be installed: {reason}")
