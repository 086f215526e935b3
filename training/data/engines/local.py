"""All cores of this machine: a pool of processes for the steps, DuckDB for the SQL.

Memory is bounded: a worker holds one part, DuckDB spills to the run's folder above its share.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tabwright.errors import ConfigError, EngineFailed
from training.data.engine import Progress, Step, work_on
from training.data.run import Run

_SQL_MEMORY = "600MB"


@contextmanager
def open_engine(
    *, workers: int = 0, master: str = "", progress: Callable[[Progress], None] | None = None
) -> Iterator[LocalEngine]:
    """Start the pool; one worker is this process itself. `master` is Spark's.

    Raises:
        ConfigError: a master was named.
    """
    if master:
        raise ConfigError(f"--master {master}: only --engine spark has one")
    workers = workers or os.cpu_count() or 1
    shown = progress or (lambda _: None)
    if workers == 1:
        yield LocalEngine(None, workers, shown)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        yield LocalEngine(pool, workers, shown)


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """See `training.data.engine.DataEngine`."""

    pool: ProcessPoolExecutor | None
    workers: int
    progress: Callable[[Progress], None]

    def map(self, step: Step, run: Run, parts: Sequence[int]) -> None:
        """Run a step on the parts that have no output yet."""
        left = [part for part in parts if not run.part(step.name, part).exists()]
        done = len(parts) - len(left)
        self.progress(Progress(step.name, done, len(parts)))
        for _ in self._work(step, run, left):
            done += 1
            self.progress(Progress(step.name, done, len(parts)))

    def _work(self, step: Step, run: Run, parts: Sequence[int]) -> Iterator[None]:
        if self.pool is None:
            for part in parts:
                step.work(run, part)
                yield
            return
        place = (run.folder, run.digest)
        running = [self.pool.submit(work_on, step.work, *place, part) for part in parts]
        try:
            yield from (finished.result() for finished in as_completed(running))
        except BrokenProcessPool as error:
            raise EngineFailed(f"a worker of {step.name} died; run it again to go on") from error
        finally:
            for future in running:
                future.cancel()

    def query(self, sql: str, views: Mapping[str, Path], target: Path) -> None:
        """Write the rows of a query to one Parquet file in `target`."""
        if target.exists():
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".sql-") as spill:
            partial = Path(spill) / "result"
            partial.mkdir()
            file = partial / "part-00000.parquet"
            copy = f"COPY ({sql}) TO {_quoted(file)} (FORMAT parquet, COMPRESSION zstd)"
            try:
                self._connect(Path(spill), views).execute(copy)
            except duckdb.IOException as error:
                raise OSError(str(error).splitlines()[0]) from error
            shutil.move(partial, target)

    def rows(self, sql: str, views: Mapping[str, Path]) -> list[tuple[Any, ...]]:
        """Return the rows of a small result."""
        found: list[tuple[Any, ...]] = self._connect(None, views).execute(sql).fetchall()
        return found

    def _connect(self, spill: Path | None, views: Mapping[str, Path]) -> Any:
        connection = duckdb.connect()
        connection.execute(f"SET memory_limit='{_SQL_MEMORY}'; SET threads={self.workers}")
        connection.execute("SET enable_progress_bar=false")  # it would go to stdout
        if spill is not None:
            connection.execute(f"SET temp_directory={_quoted(spill / 'spill')}")
        for name, folder in views.items():
            files = _quoted(folder / "*.parquet")
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({files})")
        return connection


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
