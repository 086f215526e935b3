"""The seam between what is done to the data and what it runs on.

There are two verbs. `map` runs a step on every part; a step reads and writes files of the run's
folder, so a part whose output is there is done and a killed run goes on. `query` runs one SQL text
over Parquet files; the text keeps to what DuckDB and Spark both understand. Whatever the engine,
the same configuration gives the same shards, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tabwright.errors import ConfigError, MissingExtra

if TYPE_CHECKING:  # it needs the `data` extra, and the command's help does not
    from training.data.run import Run

# name -> where its opener is; `open_engine(master, workers)` returns a context manager.
ENGINES = {
    "local": "training.data.engines.local:open_engine",
    "spark": "training.data.engines.spark:open_engine",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A pure function of a run's files: `work(run, part)` writes `run.part(name, part)`."""

    name: str
    work: Callable[[Run, int], None]


class Progress(NamedTuple):
    """How far a step has come."""

    step: str
    done: int
    total: int


def work_on(work: Callable[[Run, int], None], folder: Path, digest: str, part: int) -> None:
    """Do a step's work on one part in a worker, and give back the memory that it took."""
    import pyarrow as pa

    from training.data.run import planned

    work(planned(folder, digest), part)
    pa.default_memory_pool().release_unused()


class DataEngine(Protocol):
    """Runs steps and queries. May raise EngineFailed when a worker or the cluster dies."""

    def map(self, step: Step, run: Run, parts: Sequence[int]) -> None:
        """Run `step` on those of `parts` whose output is not there yet."""

    def query(self, sql: str, views: Mapping[str, Path], target: Path) -> None:
        """Write the rows of `sql` to `target`, a folder of Parquet files, unless it is there."""

    def rows(self, sql: str, views: Mapping[str, Path]) -> list[tuple[Any, ...]]:
        """Return the rows of a small result."""


def load_engine(name: str) -> Callable[..., Any]:
    """Find an engine's opener.

    Raises:
        ConfigError: no engine has this name.
        MissingExtra: its library is not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"--engine {name}: choose from {', '.join(ENGINES)}")
    module, attribute = ENGINES[name].split(":")
    try:
        opener: Callable[..., Any] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "spark" if name == "spark" else "data") from error
    return opener
