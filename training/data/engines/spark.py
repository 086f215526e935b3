"""A Spark cluster, or Spark on this machine: steps as tasks, the same SQL text.

The run's folder must be one that every worker sees (a shared disk, or a mount of the object
store). With `local[n]` it is any folder.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabwright.errors import ConfigError, EngineFailed
from training.data.engine import Progress, Step, work_on
from training.data.run import Run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# A collector without threads of its own that gives memory back, and no compiler whose work pays off
# after minutes only.
_JAVA = "-XX:+UseSerialGC -XX:MinHeapFreeRatio=10 -XX:MaxHeapFreeRatio=30 -XX:TieredStopAtLevel=1"


@contextmanager
def open_engine(
    *,
    workers: int = 0,
    master: str = "",
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[SparkEngine]:
    """Open a session and stop it at the end. An empty `master` uses the cores of this machine.

    Raises:
        ModuleNotFoundError: the `spark` extra is not installed.
        ConfigError: there is no Java to run it.
    """
    from pyspark.sql import SparkSession

    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        raise ConfigError(
            "--engine spark: no Java was found; install a Java 17 or 21 (all its modules), or name "
            "one in JAVA_HOME"
        )
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # Java's threads would keep an arena each
    logging.getLogger("py4j").setLevel(logging.WARNING)
    master = master or f"local[{workers or '*'}]"
    builder = SparkSession.builder.master(master)
    if master.startswith("local"):
        for name, value in _on_this_machine(master).items():
            builder = builder.config(name, value)
    session = (
        builder.appName("tabwright-data")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    try:
        session.sparkContext.setLogLevel("ERROR")
        yield SparkEngine(session, progress or (lambda _: None))
    finally:
        session.stop()


def _on_this_machine(master: str) -> dict[str, str]:
    """Settings of a driver that is the whole cluster.

    It does little but the SQL, so it gets the memory for that; what does not fit is spilled.
    Executors of a real cluster must reach the driver from outside.
    """
    stated = re.fullmatch(r"local\[(\d+).*\]", master)
    threads = int(stated[1]) if stated else os.cpu_count() or 1
    return {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": os.environ.get("SPARK_DRIVER_MEMORY", f"{448 + 64 * threads}m"),
        "spark.driver.extraJavaOptions": _JAVA,
        "spark.hadoop.parquet.block.size": str(16 << 20),
    }


@dataclass(frozen=True, slots=True)
class SparkEngine:
    """See `training.data.engine.DataEngine`."""

    session: SparkSession
    progress: Callable[[Progress], None]

    def map(self, step: Step, run: Run, parts: Sequence[int]) -> None:
        """Run a step on the parts that have no output yet, one task each."""
        left = [part for part in parts if not run.part(step.name, part).exists()]
        self.progress(Progress(step.name, len(parts) - len(left), len(parts)))
        if not left:
            return
        from py4j.protocol import Py4JJavaError

        work, folder, digest = step.work, run.folder, run.digest
        try:
            self.session.sparkContext.parallelize(left, len(left)).foreach(
                lambda part: work_on(work, folder, digest, part)
            )
        except Py4JJavaError as error:
            reason = str(error.java_exception.getMessage()).splitlines()[0]
            raise EngineFailed(f"step {step.name} failed on the cluster: {reason}") from error
        self.progress(Progress(step.name, len(parts), len(parts)))

    def query(self, sql: str, views: Mapping[str, Path], target: Path) -> None:
        """Write the rows of a query to Parquet files in `target`."""
        if target.exists():
            return
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        self._select(sql, views).write.parquet(partial.resolve().as_uri())
        partial.replace(target)
        # The next step is Python's: what the query needed goes back to the machine (`_JAVA`).
        virtual_machine: Any = self.session.sparkContext._jvm
        virtual_machine.java.lang.System.gc()

    def rows(self, sql: str, views: Mapping[str, Path]) -> list[tuple[Any, ...]]:
        """Return the rows of a small result."""
        return [tuple(row) for row in self._select(sql, views).collect()]

    def _select(self, sql: str, views: Mapping[str, Path]) -> Any:
        for name, folder in views.items():
            frame = self.session.read.parquet(folder.resolve().as_uri())
            frame.createOrReplaceTempView(name)
        return self.session.sql(sql)
