"""The real Triton, with the bundled model, that the scripts beside this file measure."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.settings import BUNDLED_MODEL
from server.tritonserver.bundle import ensure_export
from server.tritonserver.environment import RELEASE, ensure
from server.tritonserver.node import SHARED_MEMORY, Node, Ports, leave_on_signals
from tabwright.artifact import ModelArtifact


class Measured:
    """A server of its own for one script, on free ports."""

    def __init__(self, home: Path) -> None:
        """Start it."""
        ensure()
        exports = Path(sys.prefix) / "triton-home" / "exports"
        self.export = ensure_export(ModelArtifact.load(BUNDLED_MODEL), exports)
        self.artifact = ModelArtifact.load(self.export / "checkpoint")
        self.node = Node(home)
        self.ports = Ports.starting_at(0)
        self.start()

    @property
    def url(self) -> str:
        """Where its gRPC is."""
        return f"127.0.0.1:{self.ports.grpc}"

    def start(self) -> None:
        """Start it again, on the same ports."""
        self.told = self.node.start(self.export / "model_repository", self.ports)

    def rss_mb(self) -> dict[str, float]:
        """Resident memory of the server and of the model's process."""
        pids = {"server": self.told.pid, "model": self.node.stub_pids()[0]}
        return {name: _rss_mb(pid) for name, pid in pids.items()}

    def held(self) -> int:
        """Files in shared memory, whoever they belong to."""
        return len(list(SHARED_MEMORY.glob(self.told.shm_prefix + "*")))


@contextmanager
def measured() -> Iterator[Measured]:
    """Run one for the length of the block; a signal that ends the script ends it too."""
    leave_on_signals()
    with tempfile.TemporaryDirectory() as folder:
        server = Measured(Path(folder))
        try:
            yield server
        finally:
            server.node.stop()


def where() -> dict[str, object]:
    """What a figure depends on that `where.json` does not say."""
    return {"triton": RELEASE, "load_average": [round(x, 2) for x in os.getloadavg()]}


def summary(values: list[float]) -> dict[str, float]:
    """Percentiles."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "n": len(ordered),
        "p50": round(ordered[last // 2], 3),
        "p95": round(ordered[-(-last * 95 // 100)], 3),
        "p99": round(ordered[-(-last * 99 // 100)], 3),
    }


def _rss_mb(pid: int) -> float:
    rows = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(round(int(r.split()[1]) / 1024, 1) for r in rows if r.startswith("VmRSS"))
