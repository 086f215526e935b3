"""Token shards as they lie on disk, and back as memory maps. `packing.py` writes them.

<folder>/
  train-00000.npy    uint16 or uint32 ids of whole documents, one after the other
  train-00000.jsonl  a row a document: start, tokens, lineage id, repository, commit, path, ...
  held_out-00000.*   the same for documents that training never sees
  tokenizer.json
  manifest.json      digests of all files, counts, sources with weights; written last
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tabwright.artifact import file_digest
from tabwright.errors import CorruptArtifact

SCHEMA_VERSION = 2
# The two sides: held-out documents are for measures, training never sees them.
TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one document lies in its shard (`start`, `tokens` count ids) and where it came from."""

    start: int
    tokens: int
    id: str
    source: str
    repo: str
    path: str
    licence: str
    language: str
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """One memory-mapped file of ids with the rows of its documents."""

    ids: npt.NDArray[np.unsignedinteger[Any]]
    entries: tuple[Entry, ...]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a shard folder's manifest.

    Raises:
        CorruptArtifact: it is missing, unreadable or of another schema version.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{folder}: no finished shard folder ({error})") from error
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise CorruptArtifact(f"{folder}: schema_version must be {SCHEMA_VERSION}; write it again")
    return manifest


def open_shards(folder: Path, split: str) -> list[Shard]:
    """Map every shard of one split after checking its digest.

    Raises:
        CorruptArtifact: a file is missing or was altered.
    """
    manifest = read_manifest(folder)
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise CorruptArtifact(f"{folder.name}/{name} is missing or was altered")
    shards = []
    for name in sorted(n for n in manifest["files"] if n.startswith(split) and n.endswith(".npy")):
        rows = (folder / name).with_suffix(".jsonl").read_text("utf-8").splitlines()
        entries = tuple(Entry(**json.loads(row)) for row in rows)
        shards.append(Shard(np.load(folder / name, mmap_mode="r"), entries))
    return shards
