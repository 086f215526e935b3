"""The rows of the engine table as test parameters, and how each engine is started for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.engines.registry import ENGINES
from tabwright.artifact import ModelArtifact
from tests.conftest import SERVICES
from tests.fakes.triton_server import TritonServer, triton_server

NEEDS = {"cpu": "cpu", "triton": "triton"}  # engines that need a service of `tests/conftest.py`
ROWS = [
    pytest.param(name, marks=pytest.mark.needs(NEEDS[name]) if name in NEEDS else ())
    for name in sorted(ENGINES)
]


class Options(dict[str, dict[str, object]]):
    """Options of every engine, by its name, and the server that one of them asks."""

    triton: TritonServer | None = None


@contextmanager
def engine_options(folder: Path, artifact: ModelArtifact) -> Iterator[Options]:
    """Options of every engine for `artifact`; `folder` is for what it may write."""
    options = Options(
        scripted={"answer": "def add(first, second): return\n" * 60, "token_delay_s": 0.0005},
        cpu={"cache_dir": folder / "ir", "precision": "f32", "threads": 1},
    )
    if SERVICES["triton"]():
        yield options
        return
    with served_by_triton(artifact, folder) as server:
        options.triton = server
        options["triton"] = {
            "urls": (f"127.0.0.1:{server.grpc_port}",),
            "stall_timeout_s": 20.0,  # the machine may be busy
        }
        yield options


@contextmanager
def served_by_triton(artifact: ModelArtifact, folder: Path) -> Iterator[TritonServer]:
    """Export the artifact and serve it."""
    from training.export.tensorrt_llm import export_model

    export_model(artifact.path, folder / "export", to="local_llm", validate=False)
    (folder / "home").mkdir()
    with triton_server(folder / "export" / "model_repository", folder / "home") as server:
        yield server
