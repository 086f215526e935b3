"""Rows of measurements, one a step, as JSON lines and in the log."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from training.distributed import rank_and_world
from training.records import Row, finite

logger = logging.getLogger(__name__)

Write = Callable[[Row], None]


@contextlib.contextmanager
def metrics(file: Path) -> Iterator[Write]:
    """Append rows to `file` and the log; ranks other than 0 write nothing."""
    if rank_and_world()[0] != 0:
        yield _ignore
        return
    with file.open("a", encoding="utf-8") as stream:

        def write(row: Row) -> None:
            stream.write(json.dumps(finite(row)) + "\n")
            stream.flush()
            logger.info("%s", " ".join(f"{k}={_short(v)}" for k, v in row.items()))

        yield write


def _ignore(_: Row) -> None:
    """Take a row and forget it."""


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
