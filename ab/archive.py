"""Raw events as Parquet, a folder a day (UTC): `day=2026-11-21/events.parquet`.

Spark, DuckDB and warehouses read such folders as one table. A day is written whole and put in place
at once, so archiving again, after late events say, gives the same files with those in them. Needs
the extra `ab`. Read `write` and `forget`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ab.events import Event, Kind
from tabwright.errors import ConfigError, MissingExtra

_ROWS = 20_000
_FILE = "events.parquet"
_NUMBERS = ("at", "wait_ms", "first_token_ms", "total_ms", "shown_ms", "after_s", "retained_share")
_TYPES = {"chars": "int64", "failed": "bool_", "explicit": "bool_"} | dict.fromkeys(
    _NUMBERS, "float64"
)


def write(events: Iterable[Event], folder: Path, since: date | None = None) -> dict[str, int]:
    """Archive events of days from `since` on; tell how many of each day.

    Raises:
        ConfigError: the folder cannot be written.
        MissingExtra: pyarrow is not installed.
    """
    counted: dict[str, int] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    try:
        with ExitStack() as stack:
            days = _Days(folder, stack)
            for event in events:
                day = datetime.fromtimestamp(event.at, UTC).date()
                if since is not None and day < since:
                    continue
                name = day.isoformat()
                counted[name] = counted.get(name, 0) + 1
                waiting = rows.setdefault(name, [])
                waiting.append(asdict(event))
                if len(waiting) == _ROWS:
                    days.add(name, waiting)
                    waiting.clear()
            for name, waiting in rows.items():
                days.add(name, waiting)
        for name in counted:
            path = _path(folder, name)
            os.replace(path.with_suffix(".part"), path)
    except OSError as error:
        raise ConfigError(f"DIR: {folder} cannot be written: {error.strerror or error}") from None
    return dict(sorted(counted.items()))


def forget(folder: Path, user: str) -> int:
    """Erase the events of a user; tell how many there were.

    Raises:
        ConfigError: a file cannot be read or written.
        MissingExtra: pyarrow is not installed.
    """
    arrow = _arrow()
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    erased = 0
    try:
        for path in sorted(folder.glob(f"day=*/{_FILE}")):
            table = pq.read_table(path, schema=_schema(arrow), partitioning=None)
            others = table.filter(pc.not_equal(table["user"], user))
            if len(others) < len(table):
                part = path.with_suffix(".part")
                pq.write_table(others, part)
                os.replace(part, path)
                erased += len(table) - len(others)
    except OSError as error:
        raise ConfigError(f"archive: {folder} cannot be changed: {error}") from None
    return erased


def read(folder: Path) -> Iterator[Event]:
    """Everything that is archived."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob(f"day=*/{_FILE}")):
        for batch in pq.ParquetFile(path).iter_batches(_ROWS):
            for row in batch.to_pylist():
                row["kind"] = Kind(row["kind"])
                yield Event(**row)


class _Days:
    """One growing file for each day."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._arrow = _arrow()
        self._folder, self._stack = folder, stack
        self._writers: dict[str, Any] = {}

    def add(self, day: str, rows: list[dict[str, Any]]) -> None:
        import pyarrow.parquet as pq

        if day not in self._writers:
            path = _path(self._folder, day)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it names people
            writer = pq.ParquetWriter(path.with_suffix(".part"), _schema(self._arrow))
            self._writers[day] = self._stack.enter_context(writer)
        table = self._arrow.Table.from_pylist(rows, schema=_schema(self._arrow))
        self._writers[day].write_table(table)


def _path(folder: Path, day: str) -> Path:
    return folder / f"day={day}" / _FILE


def _schema(arrow: Any) -> Any:
    return arrow.schema([
        (field.name, getattr(arrow, _TYPES.get(field.name, "string"))()) for field in fields(Event)
    ])  # fmt: skip


def _arrow() -> Any:
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "pyarrow", "ab") from error
    return pa
