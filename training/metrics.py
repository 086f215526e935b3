"""Rows of measurements, one a step, as JSON lines and in the log."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.distributed import rank_and_world

logger = logging.getLogger(__name__)
METRICS = "metrics.jsonl"

Row = dict[str, Any]
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


def read_lines(file: Path) -> list[Row]:
    """The rows of a file of JSON lines, none if there is no file; a torn last line is left out."""
    rows: list[Row] = []
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the run was killed while it wrote
            continue
    return rows


def finite(row: Row) -> Row:
    """The row with None in place of what JSON has no number for."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _ignore(_: Row) -> None:
    """Take a row and forget it."""


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
