"""A real Triton server on the loopback: nvidia-pytriton's wheel in an environment of its own.

The wheel wants numpy below 2 and brings transformers 4.57.3, the version in NVIDIA's container, so
it lives in `.venv-triton` (`make setup-triton`) and borrows torch from the tests' environment.
Release 24.10 dies when gRPC streams with fast tokens are cancelled; nothing here does that.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[2] / ".venv-triton"
SHARED_MEMORY = Path("/dev/shm")
START_S = 180.0


def missing() -> str | None:
    """Why no server can be started here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the Triton wheel is for Linux on x86_64"
    if not list(ENVIRONMENT.glob(".ready-*")):
        return "Triton not installed (make setup-triton)"
    return None


def transformers_python() -> Path:
    """The interpreter that has transformers 4.57.3."""
    return ENVIRONMENT / "bin" / "python"


@dataclass
class TritonServer:
    """A running server; `stop` and `start` again give the same ports."""

    repository: Path
    home: Path
    http_port: int
    grpc_port: int
    metrics_port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it says that it is ready."""
        prefix = f"tw{secrets.token_hex(4)}_"
        (self.home / "shm-prefix").write_text(prefix)
        with (self.home / "triton.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(prefix), env=self._environment(), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.home / "triton.log").read_text()[-4000:])
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, its stubs too, and sweep its shared memory."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        self.process = None
        for file in self.shared_memory():
            file.unlink(missing_ok=True)

    def stop(self) -> int:
        """End it politely; return its exit code."""
        assert self.process is not None
        process = self.process
        process.terminate()
        code = process.wait(timeout=60)
        self.kill()
        return code

    def shared_memory(self) -> list[Path]:
        """What it holds in shared memory."""
        return list(SHARED_MEMORY.glob((self.home / "shm-prefix").read_text() + "*"))

    def stub_pids(self) -> list[int]:
        """The processes that run the models."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                own = os.getpgid(int(entry.name)) == (self.process and self.process.pid)
                if own and words[0].endswith(b"triton_python_backend_stub"):
                    found.append(int(entry.name))
        return found

    def metrics(self) -> dict[str, float]:
        """Our own metrics, summed over their labels."""
        address = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            rows = answer.read().decode().splitlines()
        told: dict[str, float] = {}
        for row in rows:
            if row.startswith("tabwright_llm_"):
                name, value = row.rsplit(" ", 1)
                told[name.partition("{")[0]] = told.get(name.partition("{")[0], 0) + float(value)
        return told

    def _ready(self) -> bool:
        address = f"http://127.0.0.1:{self.http_port}/v2/health/ready"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _command(self, prefix: str) -> list[str]:
        triton = _triton()
        return [
            str(triton / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self.home / 'backends'}",
            "--http-address=127.0.0.1", f"--http-port={self.http_port}",
            "--grpc-address=127.0.0.1", f"--grpc-port={self.grpc_port}",
            "--metrics-address=127.0.0.1", f"--metrics-port={self.metrics_port}",
            "--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0",
            "--disable-auto-complete-config", "--exit-timeout-secs=2",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            "--backend-config=python,thread-pool-size=4",
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        return keep | {
            "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
            "OMP_NUM_THREADS": "1",
        }


@contextmanager
def triton_server(repository: Path, home: Path) -> Iterator[TritonServer]:
    """Serve the models of `repository` until the block is left; `home` is for its own files."""
    _link_backend(home / "backends" / "python")
    http, grpc, metrics = _free_ports(3)
    server = TritonServer(repository, home, http, grpc, metrics)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _triton() -> Path:
    [found] = ENVIRONMENT.glob("lib/python3.*/site-packages/pytriton/tritonserver")
    return found


def _link_backend(folder: Path) -> None:
    """The wheel's backend folder lacks the stub, which is of one Python version."""
    triton = _triton()
    minor = triton.parents[2].name.removeprefix("python")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in (triton / "backends" / "python").iterdir():
        (folder / file.name).symlink_to(file)
    stub = "triton_python_backend_stub"
    (folder / stub).unlink(missing_ok=True)
    (folder / stub).symlink_to(triton / "python_backend_stubs" / minor / stub)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports
