"""Source files that lie as rows in Parquet or JSONL, as The Stack v1 and v2 publish them.

The columns are found by the names that such data sets use; `columns` in the configuration names
others. A table without the text itself (The Stack v2) has it fetched from `blobs`, row by row. Rows
with a question and its answers, and Stack Exchange's Posts.xml, are read through `posts.py`. Only
addresses that fsspec knows are opened.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from tabwright.errors import ConfigError
from training.data.config import TableSource
from training.data.posts import parse_post, thread

# A longer line is a file of more bytes than any that is kept, and is not held in memory.
_MAX_LINE = 16 << 20
_PIECE = 1 << 20
_BATCH = 64
_COLUMNS = {
    "content": ("content", "text", "code"),
    "path": ("max_stars_repo_path", "path", "file_path", "filename"),
    "repo": ("max_stars_repo_name", "repo_name", "repo", "repository"),
    "licence": ("max_stars_repo_licenses", "detected_licenses", "licenses", "license", "licence"),
    "language": ("lang", "language", "programming_language"),
    "commit": ("max_stars_repo_head_hexsha", "revision_id", "commit"),
    "question": ("question", "question_body"),
    "answers": ("answers", "answer"),
    "title": ("title", "question_title"),
}
_ORIGIN = ("path", "repo", "licence", "language", "commit")


class Row(NamedTuple):
    """One file of a table; `language` is the table's own name for it, "" where it has none."""

    content: bytes | None
    path: str
    repo: str
    licence: str
    language: str
    problem: str = ""
    commit: str = ""


def list_table(source: TableSource, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (file, row groups) a part; for JSONL the groups are byte offsets [start, end).

    Raises:
        ConfigError: nothing is there.
    """
    filesystem, _ = fsspec.core.url_to_fs(source.files)
    names = [source.files]
    if "*" in source.files:
        found = sorted(filesystem.glob(source.files))  # their protocol is gone, but for local files
        local = isinstance(filesystem, LocalFileSystem)
        names = found if local else [filesystem.unstrip_protocol(name) for name in found]
    if not names or not all(filesystem.exists(name) for name in names):
        raise ConfigError(f"source {source.name}: no file at {source.files}")
    for name in names:
        if str(name).endswith(".parquet"):
            with filesystem.open(name, "rb") as file:
                try:
                    metadata = pq.ParquetFile(file).metadata
                except (pa.ArrowException, OSError):
                    yield str(name), ()
                    continue
                yield from _row_groups(str(name), metadata, size)
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
            _skip_line(file)
            end = min(file.tell(), total)
            yield name, (start, end)
            start = end


def read_table(source: TableSource, name: str, groups: tuple[int, ...]) -> Iterator[Row]:
    """Read the rows of one part.

    Raises:
        ConfigError: the table has no column with the files' text.
    """
    filesystem, _ = fsspec.core.url_to_fs(name)
    try:
        opened = filesystem.open(name, "rb")
    except OSError as error:
        yield Row(None, name, source.name, "", "", f"{type(error).__name__}: whole table")
        return
    with opened as file:
        if name.endswith(".parquet"):
            yield from _parquet_rows(source, file, groups, name)
        else:
            yield from _json_rows(source, file, groups, name)


def _parquet_rows(
    source: TableSource, file: Any, groups: tuple[int, ...], name: str
) -> Iterator[Row]:
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError):
        yield Row(None, name, source.name, "", "", "no Parquet")
        return
    chosen = _choose(source, table.schema_arrow.names)
    for group in groups:
        try:
            batches = table.iter_batches(_BATCH, [group], columns=list(chosen.values()))
            for batch in batches:
                yield from (_row(source, chosen, row) for row in batch.to_pylist())
        except (pa.ArrowException, OSError):
            yield Row(None, f"{name}@{group}", source.name, "", "", "damaged row group")


def _json_rows(source: TableSource, file: Any, groups: tuple[int, ...], name: str) -> Iterator[Row]:
    file.seek(groups[0])
    chosen: dict[str, str] = {}
    while file.tell() < groups[1]:
        start = file.tell()
        line = file.readline(_MAX_LINE)
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            _skip_line(file)
            problem = f"{file.tell() - start - 1} bytes"
        elif not line.strip():
            continue
        else:
            row, problem = (_post if name.endswith(".xml") else _parsed)(line)
            if row is None and not problem:
                continue
            if row is not None:
                chosen = chosen or _choose(source, list(row))
                yield _row(source, chosen, row)
                continue
        yield Row(None, f"{name}@{start}", source.name, "", "", problem)


def _parsed(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, "no JSON"
    return (row, "") if isinstance(row, dict) else (None, "no object")


def _post(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        return parse_post(line.decode("utf-8-sig", "replace")), ""
    except ValueError:
        return None, "no post"


def _skip_line(file: Any) -> None:
    """Go behind the end of the line in pieces, however long it is."""
    while piece := file.readline(_PIECE):
        if piece.endswith(b"\n"):
            return


def _choose(source: TableSource, columns: list[str]) -> dict[str, str]:
    chosen = {}
    for ours, known in _COLUMNS.items():
        named = source.columns.get(ours)
        found = named if named in columns else next((c for c in known if c in columns), None)
        if found:
            chosen[ours] = found
    if "content" in chosen:
        return {name: chosen[name] for name in ("content", *_ORIGIN) if name in chosen}
    if source.blobs:
        used = [field for _, field, _, _ in Formatter().parse(source.blobs) if field]
        if unknown := [field for field in used if field not in columns]:
            raise ConfigError(f"source {source.name}: blobs: no column {', '.join(unknown)}")
        return chosen | {field: field for field in used}
    if not {"question", "answers"} <= chosen.keys():
        raise ConfigError(
            f"source {source.name}: no column holds the text; it has {', '.join(columns)}; name it "
            'with columns = {content = "..."}, or say with blobs = "..." where the texts lie'
        )
    return chosen


def _row(source: TableSource, chosen: Mapping[str, str], row: Mapping[str, Any]) -> Row:
    def text(name: str) -> str:
        value = row.get(chosen.get(name, "")) or ""
        if isinstance(value, (list, tuple)):
            value = " OR ".join(map(str, value))
        return str(value)

    content, problem = _content(source, chosen, row)
    return Row(
        content,
        text("path"),
        text("repo") or source.name,
        text("licence") or source.licence,
        text("language"),
        problem,
        text("commit"),
    )


def _content(
    source: TableSource, chosen: Mapping[str, str], row: Mapping[str, Any]
) -> tuple[bytes | None, str]:
    if "content" in chosen:
        content = row.get(chosen["content"])
    elif source.blobs:
        return _blob(source.blobs, row)
    else:
        content = thread(row, chosen["question"], chosen["answers"], chosen.get("title", ""))
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    return (content, "") if isinstance(content, bytes) else (None, "no text in its row")


def _blob(address: str, row: Mapping[str, Any]) -> tuple[bytes | None, str]:
    """Fetch the text of one row; one byte above what a line may have tells that it is too large."""
    place = address.format_map(row)
    try:
        with fsspec.open(place, "rb") as file:
            raw = file.read(_MAX_LINE + 1)
        return (gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw), ""
    except (OSError, EOFError, zlib.error) as error:
        return None, f"{place}: {type(error).__name__}"
