"""The folder of one data run: its plan, the steps' files, and how a file gets there whole.

<folder>/
  plan.json                     configuration, its digest, the list of parts
  <step>/part-00000.parquet     what a step wrote for a part
  <query>/                      what a query wrote
  shards/                       the result, manifest.json last
  ledger.json, ledger.html      what went in and out of every step
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError
from training.data.config import DataConfig
from training.data.opt_out import read_list
from training.data.sources import Part, list_parts, part_from_plan

PLAN_VERSION = 2
_PATTERN = frozenset("*?[]{}\\")


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder with what its plan says."""

    folder: Path
    config: DataConfig
    parts: tuple[Part, ...]
    digest: str

    def part(self, step: str, part: int) -> Path:
        """Where a step's rows for a part lie."""
        return self.folder / step / f"part-{part:05d}.parquet"

    def table(self, name: str) -> Path:
        """The folder of a step's or a query's Parquet files."""
        return self.folder / name


def open_run(folder: Path, config: DataConfig) -> Run:
    """Plan a new run, or go on with the one that is in `folder`.

    Raises:
        ConfigError: a run with another configuration is there, a source is not, or the folder's
            name is none that both engines can read.
    """
    if found := _PATTERN.intersection(str(folder.resolve())):
        raise ConfigError(
            f"--out {folder}: the engines take {' '.join(sorted(found))} for a pattern; choose "
            "another folder"
        )
    digest = config_digest(config)
    plan = folder / "plan.json"
    if not plan.exists():
        folder.mkdir(parents=True, exist_ok=True)
        parts = tuple(list_parts(config))
        if not parts:
            raise ConfigError("no file was found; see the sources' folders")
        rows = {
            "schema_version": PLAN_VERSION,
            "digest": digest,
            "config": config.model_dump(mode="json"),
            "parts": [part._asdict() for part in parts],
        }
        with whole(plan) as partial:  # as ASCII: names of files need not be UTF-8
            partial.write_text(json.dumps(rows, indent=2), encoding="ascii")
    run = read_run(folder)
    if run.digest != digest:
        raise ConfigError(f"{folder} holds a run of another configuration; choose another --out")
    return run


def read_run(folder: Path) -> Run:
    """Read a run's plan.

    Raises:
        ConfigError: there is none, or it is of another version.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no data run ({error})") from error
    if plan["schema_version"] != PLAN_VERSION:
        raise ConfigError(f"{folder}: schema_version must be {PLAN_VERSION}; run it anew")
    parts = tuple(part_from_plan(row) for row in plan["parts"])
    return Run(folder, DataConfig.model_validate(plan["config"]), parts, plan["digest"])


@lru_cache(maxsize=1)
def planned(folder: Path, digest: str) -> Run:
    """Read a plan once in a process; it names every file, so it is not sent along with each part.

    Raises:
        ConfigError: the folder holds another run.
    """
    run = read_run(folder)
    if run.digest != digest:
        raise ConfigError(f"{folder} holds a run of another configuration")
    return run


def config_digest(config: DataConfig) -> str:
    """Sha256 of all that decides the result."""
    decisive = config.model_dump(mode="json")
    if config.opt_out:
        decisive["opted_out"] = sorted(read_list(config.opt_out))
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from working in a run's folder at the same time.

    Raises:
        ConfigError: one does; when it ends, or is killed, the folder is free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"--out {folder}: another run is working in it") from error
        yield


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give a path to write to that becomes `target` when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
