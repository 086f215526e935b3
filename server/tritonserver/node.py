"""One Triton server as processes: started, found again, asked, ended, and nothing of it left.

It runs in a session of its own, so it outlives whoever started it, and `server.json` in its home is
how others find it. Everything listens on the loopback. Its shared memory has a prefix nobody else
has, which is swept when it ends, because 24.10 leaves some behind. Read `Node.start` first.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.tritonserver.environment import NoTriton, link_backend, triton, variables
from tabwright.errors import ConfigError

SHARED_MEMORY = Path("/dev/shm")
START_S = 300.0
_EXIT_S = 2  # Triton's own patience with running requests when it is told to end
_GRACE_S = _EXIT_S + 4.0
_STUB = "triton_python_backend_stub"
_GAUGES = "tabwright_llm_"
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Ports:
    """Where it listens."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def starting_at(cls, first: int) -> Ports:
        """Three in a row, or with 0 three that are free.

        Raises:
            ConfigError: one of them is taken, or is no port.
        """
        if not 0 <= first <= _LAST_PORT - 2:
            raise ConfigError(f"--port {first}: the first of three ports is 1 to {_LAST_PORT - 2}")
        with ExitStack() as held:
            found = []
            for port in (first, first + 1, first + 2) if first else (0, 0, 0):
                try:
                    found.append(held.enter_context(socket.create_server(("127.0.0.1", port))))
                except OSError as error:
                    raise ConfigError(
                        f"--port {first}: Triton needs ports {first} to {first + 2}, and {port} is "
                        f"not free ({error.strerror}); choose another, or 0 for any"
                    ) from None
            return cls(*(server.getsockname()[1] for server in found))


@dataclass(frozen=True, slots=True)
class Running:
    """What `server.json` says. born: start of the process, so that its number names nobody else."""

    pid: int
    born: int
    shm_prefix: str
    ports: Ports
    repository: str

    @property
    def models(self) -> list[str]:
        """Names of the models it serves."""
        return sorted(folder.parent.name for folder in Path(self.repository).glob("*/config.pbtxt"))


class Node:
    """A Triton server that lives in the folder `home`, whether or not it runs."""

    def __init__(self, home: Path) -> None:
        """Look at `home`; nothing is started."""
        self.home = home
        self.log = home / "triton.log"
        self._state = home / "server.json"
        self._ending = home / "ended"
        self._child: subprocess.Popen[bytes] | None = None  # ours to reap, if we started it

    def running(self) -> Running | None:
        """What runs, or None; a server that died is None too."""
        told = self._told()
        return told if told and _born(told.pid) == told.born else None

    @property
    def told_to_end(self) -> bool:
        """Whether it was ended on purpose, or is just being ended."""
        return self._ending.exists()

    def start(self, repository: Path, ports: Ports, timeout_s: float = START_S) -> Running:
        """Start it on the models of `repository` and return when all are loaded.

        Raises:
            NoTriton: it died or did not become ready; nothing of it is left.
        """
        self.kill()
        self.home.mkdir(parents=True, exist_ok=True)
        self._ending.unlink(missing_ok=True)
        link_backend(self.home / "backends" / "python")
        prefix = f"tw{secrets.token_hex(4)}_"
        try:
            with self.log.open("wb") as log:
                self._child = subprocess.Popen(
                    _command(repository, self.home / "backends", ports, prefix),
                    env=variables(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            pid = self._child.pid
            told = Running(pid, _born(pid) or 0, prefix, ports, str(repository.resolve()))
            fresh = self._state.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(told)), encoding="utf-8")
            fresh.replace(self._state)
            self._wait_ready(told, timeout_s)
        except BaseException:
            self.kill(prefix)
            raise
        return told

    def stop(self) -> int | None:
        """End it politely, and then at once; its exit code if it is our child."""
        code = None
        try:
            if told := self.running():
                self._ending.touch()
                with suppress(ProcessLookupError):
                    os.kill(told.pid, signal.SIGTERM)
                deadline = time.monotonic() + _GRACE_S
                while time.monotonic() < deadline and _born(told.pid) == told.born:
                    code = self._child.poll() if self._child else None
                    time.sleep(0.05)
        finally:
            self.kill()  # also when somebody presses Ctrl-C a second time
        return code

    def kill(self, prefix: str | None = None) -> None:
        """End it at once, its stubs too, and sweep its shared memory; harmless if it is gone."""
        if prefix is None:
            if (told := self._told()) is None:
                return
            prefix = told.shm_prefix
        for pid in _named(prefix):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._child is not None:
            self._child.wait(timeout=30)
            self._child = None
        deadline = time.monotonic() + 10
        while _named(prefix) and time.monotonic() < deadline:
            time.sleep(0.02)
        for file in SHARED_MEMORY.glob(prefix + "*"):
            file.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)

    def shared_memory(self) -> list[Path]:
        """What it holds in shared memory."""
        told = self._told()
        return list(SHARED_MEMORY.glob(told.shm_prefix + "*")) if told else []

    def stub_pids(self) -> list[int]:
        """The processes that run the models."""
        told = self._told()
        return [pid for pid in _named(told.shm_prefix) if _STUB in _words(pid)[0]] if told else []

    def gauges(self) -> dict[str, float]:
        """Our models' own metrics, summed over their labels.

        Raises:
            OSError: it does not answer.
        """
        told = self._told()
        assert told is not None, "asked of a server that was started"
        with _get(told.ports.metrics, "/metrics", 5) as answer:
            rows = answer.read().decode().splitlines()
        found: dict[str, float] = {}
        for row in rows:
            if row.startswith(_GAUGES):
                name, value = row.rsplit(" ", 1)
                name = name.partition("{")[0].removeprefix(_GAUGES)
                found[name] = found.get(name, 0) + float(value)
        return found

    def ready(self, told: Running) -> bool:
        """Whether Triton calls itself ready; a model process that hangs does not change that."""
        try:
            with _get(told.ports.http, "/v2/health/ready", 5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def answer_ms(self, told: Running, model: str, patience_s: float = 2.0) -> float | None:
        """How long the model itself takes to answer an empty `stop`; None: it does not."""
        started = time.perf_counter()
        body = json.dumps({"id": "tabwright-status", "stop": True}).encode()
        try:
            with _get(told.ports.http, f"/v2/models/{model}/generate", patience_s, body) as answer:
                json.load(answer)
        except (OSError, ValueError):
            return None
        return (time.perf_counter() - started) * 1000

    def _told(self) -> Running | None:
        try:
            told = json.loads(self._state.read_text(encoding="utf-8"))
            return Running(**told | {"ports": Ports(**told["ports"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _wait_ready(self, told: Running, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.ready(told):
            assert self._child is not None
            if self._child.poll() is not None:
                raise NoTriton(f"Triton did not start: {self._reason()} (log: {self.log})")
            if time.monotonic() > deadline:
                raise NoTriton(f"Triton is not ready after {timeout_s:.0f} s (log: {self.log})")
            time.sleep(0.1)

    def _reason(self) -> str:
        """The line of the log that says most about why it ended."""
        rows = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        models = [row for row in rows if "failed to load '" in row and "version" in row]
        telling = [row for row in rows if "Error" in row or "error:" in row or "failed to" in row]
        found = (models or telling or rows or ["it said nothing"])[-1]
        return (found.partition("] ")[2] or found).strip('" ')[:300]


def leave_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by leaving its blocks."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _command(repository: Path, backends: Path, ports: Ports, prefix: str) -> list[str]:
    return [
        str(triton() / "bin" / "tritonserver"),
        f"--model-repository={repository.resolve()}",
        f"--backend-directory={backends.resolve()}",
        "--http-address=127.0.0.1", f"--http-port={ports.http}",
        "--grpc-address=127.0.0.1", f"--grpc-port={ports.grpc}",
        "--metrics-address=127.0.0.1", f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0",
        "--disable-auto-complete-config", f"--exit-timeout-secs={_EXIT_S}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--backend-config=python,thread-pool-size=4",
    ]  # fmt: skip


def _get(port: int, path: str, patience_s: float, body: bytes | None = None) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(request, timeout=patience_s)


def _named(prefix: str) -> list[int]:
    """Processes of one server: its prefix stands in the command line of each, also of orphans."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if any(prefix in word for word in _words(pid)[1:])]


def _words(pid: int) -> list[str]:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text("utf-8", "replace").split("\0")
    except OSError:
        return [""]


def _born(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; None if it is gone, or dead and not reaped."""
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
