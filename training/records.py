"""The files that a run writes of itself, as JSON lines, and how they are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

METRICS, STARTS, SPIKES, SAMPLES = (
    "metrics.jsonl", "starts.jsonl", "spikes.jsonl", "samples.jsonl"
)  # fmt: skip

Row = dict[str, Any]


def read_lines(file: Path) -> list[Row]:
    """The rows of a file, none if there is no file; a torn last line is left out."""
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
