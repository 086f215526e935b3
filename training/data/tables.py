"""Source files that lie as rows in Parquet or JSONL, as The Stack v1 and v2 publish them.

The columns are found by the names that such data sets use; `columns` in the configuration names
others. Only addresses that fsspec knows are opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import fsspec
import pyarrow.parquet as pq

from tabwright.errors import ConfigError
from training.data.config import TableSource

_JSONL_MB = 64
_COLUMNS = {
    "content": ("content", "text", "code"),
    "path": ("max_stars_repo_path", "path", "file_path", "filename"),
    "repo": ("max_stars_repo_name", "repo_name", "repo", "repository"),
    "licence": ("max_stars_repo_licenses", "detected_licenses", "licenses", "license", "licence"),
    "language": ("lang", "language", "programming_language"),
}


class Row(NamedTuple):
    """One file of a table; `language` is the table's own name for it, "" where it has none."""

    content: bytes | None
    path: str
    repo: str
    licence: str
    language: str


def list_table(source: TableSource, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (file, row groups) a part; for JSONL the groups are byte offsets [start, end).

    Raises:
        ConfigError: nothing is there.
    """
    filesystem, _ = fsspec.core.url_to_fs(source.files)
    names = sorted(filesystem.glob(source.files)) if "*" in source.files else [source.files]
    if not names or not all(filesystem.exists(name) for name in names):
        raise ConfigError(f"source {source.name}: no file at {source.files}")
    for name in names:
        if str(name).endswith(".parquet"):
            with filesystem.open(name, "rb") as file:
                yield from _row_groups(str(name), pq.ParquetFile(file).metadata, size)
        else:
            yield from _line_ranges(filesystem, str(name), size)


def _row_groups(name: str, metadata: Any, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    held: list[int] = []
    total = 0
    for group in range(metadata.num_row_groups):
        weight = metadata.row_group(group).total_byte_size
        if held and total + weight > size:
            yield name, tuple(held)
            held, total = [], 0
        held.append(group)
        total += weight
    if held:
        yield name, tuple(held)


def _line_ranges(filesystem: Any, name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    with filesystem.open(name, "rb") as file:
        start = 0
        total = filesystem.size(name)
        while start < total:
            file.seek(min(start + size, total))
            file.readline()
            end = min(file.tell(), total)
            yield name, (start, end)
            start = end


def read_table(source: TableSource, name: str, groups: tuple[int, ...]) -> Iterator[Row]:
    """Read the rows of one part.

    Raises:
        ConfigError: the table has no column with the files' text.
    """
    filesystem, _ = fsspec.core.url_to_fs(name)
    with filesystem.open(name, "rb") as file:
        if name.endswith(".parquet"):
            table = pq.ParquetFile(file)
            chosen = _choose(source, table.schema_arrow.names)
            for group in groups:
                rows = table.read_row_group(group, columns=list(chosen.values())).to_pylist()
                for row in rows:
                    yield _row(source, chosen, row)
            return
        file.seek(groups[0])
        chosen = {}
        while file.tell() < groups[1]:
            line = file.readline()
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                yield Row(None, f"{name}@{file.tell() - len(line)}", source.name, "", "")
                continue
            chosen = chosen or _choose(source, list(row))
            yield _row(source, chosen, row)


def _choose(source: TableSource, columns: list[str]) -> dict[str, str]:
    chosen = {}
    for ours, known in _COLUMNS.items():
        named = source.columns.get(ours)
        found = named if named in columns else next((c for c in known if c in columns), None)
        if found:
            chosen[ours] = found
    if "content" not in chosen:
        raise ConfigError(
            f"source {source.name}: no column holds the text; it has {', '.join(columns)}; name it "
            'with columns = {content = "..."}'
        )
    return chosen


def _row(source: TableSource, chosen: Mapping[str, str], row: Mapping[str, Any]) -> Row:
    def text(name: str) -> str:
        value = row.get(chosen.get(name, "")) or ""
        if isinstance(value, (list, tuple)):
            value = " OR ".join(map(str, value))
        return str(value)

    content = row.get(chosen["content"])
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    return Row(
        content if isinstance(content, bytes) else None,
        text("path"),
        text("repo") or source.name,
        text("licence") or source.licence,
        text("language"),
    )
