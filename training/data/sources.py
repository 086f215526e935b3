"""Where raw code comes from, cut into parts that are read one at a time.

A part is a plain value that goes into the run's plan, so a resumed run and every worker of a
cluster read the same files in the same order. A source knows how to list its parts and how to read
one; it decides nothing about what is kept. Read `Part`, then `list_parts` and `read_part`.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any, NamedTuple

from tabwright.errors import ConfigError
from training.data.commits import commit_at
from training.data.config import (
    DataConfig,
    FolderSource,
    HubSource,
    PackagesSource,
    Source,
    StdlibSource,
    TableSource,
)
from training.data.hub import commit_of
from training.data.ignoring import walk_unmanaged
from training.data.licence_texts import UNRECOGNISED, nearest
from training.data.licences import package_licence
from training.data.tables import list_table, read_table


class File(NamedTuple):
    """One file of a part: where it lies, what it is called, who it belongs to."""

    file: str
    path: str
    repo: str
    licence: str
    size: int
    held_out: bool = False
    commit: str = ""


class Raw(NamedTuple):
    """A file's bytes before anything was decided about them; None when they cannot be read."""

    content: bytes | None
    path: str
    repo: str
    licence: str
    held_out: bool
    language: str = ""
    problem: str = ""
    commit: str = ""


class Part(NamedTuple):
    """A unit of work: some files of one source, or row groups of one table file."""

    source: str
    files: tuple[File, ...] = ()
    table: str = ""
    groups: tuple[int, ...] = ()


def list_parts(config: DataConfig) -> list[Part]:
    """Cut every source into parts, in the order of the configuration.

    Raises:
        ConfigError: a folder or file does not exist.
    """
    size = config.read.part_mb << 20
    parts: list[Part] = []
    for source in config.source:
        if isinstance(source, TableSource | HubSource):
            tables = list_table(_table(source), size)
            parts.extend(Part(source.name, (), file, groups) for file, groups in tables)
        else:
            parts.extend(Part(source.name, files) for files in _chunks(_wanted(source), size))
    return parts


def read_part(config: DataConfig, part: Part) -> Iterator[Raw]:
    """Read the files of one part, in order; what cannot be read says why."""
    source = next(s for s in config.source if s.name == part.source)
    if isinstance(source, TableSource | HubSource):
        table = source if isinstance(source, TableSource) else source.table
        for row in read_table(table, part.table, part.groups):
            origin = (row.path, row.repo, row.licence, source.held_out)
            yield Raw(row.content, *origin, row.language, row.problem, row.commit)
        return
    for file in part.files:
        held_out = source.held_out or file.held_out
        raw: bytes | None = None
        problem = ""
        try:
            if file.size > config.read.max_bytes:
                problem = f"{file.size} bytes"
            else:
                raw = _bounded(Path(file.file), config.read.max_bytes)
        except OSError as error:
            problem = error.strerror or "error"
        yield Raw(raw, file.path, file.repo, file.licence, held_out, "", problem, file.commit)


def _table(source: TableSource | HubSource) -> TableSource:
    """The table to list; a hub's data set at the commit that its revision names now."""
    if isinstance(source, TableSource):
        return source
    commit = commit_of(source.name, source.dataset, source.revision)
    return source.model_copy(update={"revision": commit}).table


def _bounded(file: Path, limit: int) -> bytes:
    """Read a file that may have grown since it was listed; one byte above the limit tells."""
    with file.open("rb") as opened:
        return opened.read(limit + 1)


def _wanted(source: Source) -> Iterator[File]:
    for file in _files(source):
        if not any(fnmatchcase("/" + file.path, pattern) for pattern in source.skip):
            yield file


def _files(source: Source) -> Iterator[File]:
    match source:
        case StdlibSource():
            root = Path(sysconfig.get_path("stdlib"))
            keep = (p for p in walk(root) if "site-packages" not in p.parts)
            yield from _as_files(root, keep, source.name, "PSF-2.0")
        case PackagesSource():
            yield from _packages(source)
        case FolderSource():
            root = _existing(source.folder)
            depth = source.repo_depth
            for file in _as_files(root, walk(root), source.name, source.licence):
                place = Path(file.file).parent
                inner = "/".join(file.path.split("/")[:depth]) if depth else ""
                repo = f"{source.name}/{inner}" if inner else source.name
                licence = _licence_of(place, root, source.licence)
                path = file.path[len(inner) :].lstrip("/")
                commit = commit_at(place, root)
                yield file._replace(repo=repo, path=path, licence=licence, commit=commit)
        case _:
            raise AssertionError(source)


def _licence_of(folder: Path, root: Path, configured: str) -> str:
    """Take the nearest licence file; one of unknown text does not undo what is configured."""
    found = nearest(folder, root)
    return configured if configured and found == UNRECOGNISED else found or configured


def _packages(source: PackagesSource) -> Iterator[File]:
    root = _existing(source.folder)
    for info in sorted(root.glob("*.dist-info")):
        package = PathDistribution(info)
        name = (package.metadata["Name"] or "").lower()
        if not name or name in source.exclude:
            continue
        paths = (root / p for p in sorted(map(str, package.files or ())) if not p.startswith(".."))
        held_out = name in source.held_out_repos
        for file in _as_files(root, paths, f"{name}=={package.version}", package_licence(package)):
            yield file._replace(held_out=held_out)


def _as_files(root: Path, paths: Iterable[Path], repo: str, licence: str) -> Iterator[File]:
    for path in paths:
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        yield File(str(path), _shown(path.relative_to(root)), repo, licence, size)


def _shown(path: Path) -> str:
    """Name of a file as text; bytes that are none become U+FFFD."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def walk(root: Path) -> Iterator[Path]:
    """Every regular file below `root` that git would not ignore, in order of their paths.

    Symbolic links are not followed, so loops end. In a git checkout git itself says what is
    ignored; elsewhere the .gitignore files on the way do.
    """
    listed = _listed_by_git(root)
    if listed is not None:
        yield from (p for p in sorted(listed) if p.is_file() and not p.is_symlink())
        return
    yield from walk_unmanaged(root)


def _listed_by_git(root: Path) -> list[Path] | None:
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise ConfigError(f"{root}: git could not list it: {done.stderr.decode().strip()}")
    return [root / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _chunks(files: Iterable[File], size: int) -> Iterator[tuple[File, ...]]:
    held: list[File] = []
    total = 0
    for file in files:
        if held and (total + file.size > size or len(held) >= 100_000):
            yield tuple(held)
            held, total = [], 0
        held.append(file)
        total += min(file.size, size)
    if held:
        yield tuple(held)


def _existing(folder: Path) -> Path:
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise ConfigError(f"source folder {folder} does not exist")
    return root


def part_from_plan(row: dict[str, Any]) -> Part:
    """Read back what `Part._asdict` wrote into the plan."""
    files = tuple(File(*file) for file in row["files"])
    return Part(row["source"], files, row["table"], tuple(row["groups"]))
