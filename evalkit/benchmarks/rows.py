"""Reads benchmark files: JSON lines or one JSON list, gzipped or not.

What a row means is known to the benchmark that asks.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tabwright.errors import InvalidRequest

Row = Mapping[str, Any]


def read_rows(source: Path | Traversable) -> list[Row]:
    """Read every row of a file.

    Raises:
        InvalidRequest: the file cannot be read, or does not hold objects.
    """
    try:
        raw = source.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        text = raw.decode()
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, EOFError) as error:
        raise InvalidRequest("path", str(source), f"give a file of JSON lines: {error}") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InvalidRequest("path", str(source), "give a file with one JSON object a line")
    return list(rows)


def given_path(path: Path | None, form: str) -> Path:
    """The user's path, of a benchmark that is not bundled.

    Raises:
        InvalidRequest: there is none.
    """
    if path is None:
        raise InvalidRequest("path", None, f"give {form} by --path")
    return path


def texts(row: Row, names: Iterable[str]) -> list[str]:
    """The fields of a row that must be texts.

    Raises:
        InvalidRequest: one is missing.
    """
    missing = [name for name in names if not isinstance(row.get(name), str)]
    if missing:
        task = row.get("task_id", row.get("name"))
        raise InvalidRequest("path", task, f"the row lacks {', '.join(missing)}")
    return [row[name] for name in names]
