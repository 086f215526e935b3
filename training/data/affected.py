"""What already holds a repository: shard files, and the checkpoints and artifacts made of them.

A training run's `run.json` and an artifact's lineage name the digest of the shards they read.
Only what lies in the given folders is found. Read `Affected`, then `find_affected`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError
from training.data.opt_out import is_listed
from training.data.shards import SPLITS, read_manifest


@dataclass(frozen=True, slots=True)
class Affected:
    """What holds a repository: shard files with its documents and tokens, and models made of them.

    `shards` is file -> (documents, tokens).
    """

    shards: dict[str, tuple[int, int]]
    checkpoints: tuple[str, ...]
    artifacts: tuple[str, ...]


def find_affected(repo: str, folders: list[Path]) -> Affected:
    """Look through `folders`, and all below, for shards, checkpoints and artifacts.

    Raises:
        ConfigError: a folder does not exist.
        CorruptArtifact: a shard folder has no readable manifest.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--runs {folder} does not exist")
    names = frozenset({repo.lower()})
    shards: dict[str, tuple[int, int]] = {}
    digests: set[str] = set()
    for folder in _holding("manifest.json", folders):
        for file in sorted(f for split in SPLITS for f in folder.glob(f"{split}-*.jsonl")):
            tokens = [row["tokens"] for row in _rows(file) if is_listed(row["repo"], names)]
            if tokens:
                shards[str(file.with_suffix(".npy"))] = (len(tokens), sum(tokens))
                digests.add(read_manifest(folder)["digest"])
    checkpoints = tuple(
        str(step)
        for folder in _holding("run.json", folders)
        if _data(folder) & digests
        for step in sorted((folder / "checkpoints").glob("step-*"))
    )
    artifacts = tuple(
        str(folder)
        for folder in _holding("manifest.json", folders)
        if _made_of(_read(folder / "manifest.json")) & digests
    )
    return Affected(shards, checkpoints, artifacts)


def _holding(name: str, folders: list[Path]) -> Iterator[Path]:
    """Every folder with a file of this name, once."""
    yield from sorted({file.parent.resolve() for f in folders for file in f.rglob(name)})


def _data(folder: Path) -> set[str]:
    """Digests of all shards that a training run and those it began with have read."""
    run = _read(folder / "run.json")
    begun = run.get("init_from")
    before = Path(begun).parent.parent if begun else None
    read = {run["data"]} if isinstance(run.get("data"), str) else set()
    return read | (_data(before) if before and (before / "run.json").is_file() else set())


def _made_of(manifest: dict[str, Any]) -> set[str]:
    stages = manifest.get("lineage", {}).get("stages", [])
    return {stage["data_digest"] for stage in stages if "data_digest" in stage}


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as rows:
        yield from map(json.loads, rows)


def _read(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
