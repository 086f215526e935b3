"""Documents to token shards, and back as memory maps.

<folder>/
  train-00000.npy    uint16 or uint32 ids of whole documents, one after the other
  train-00000.jsonl  a row a document: start, tokens, path, source, licence, language
  held_out-00000.*   the same for documents that training never sees
  tokenizer.json
  manifest.json      digests of all files, counts, sources with licences; written last
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tabwright.artifact import file_digest, folder_digest, write_json
from tabwright.errors import ConfigError, CorruptArtifact
from tabwright.tokenizer import Tokenizer
from training.data.document import Document
from training.data.sources import Origin

SCHEMA_VERSION = 1
SHARD_TOKENS = 8_000_000
HELD_OUT_SHARE = 0.005
TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one document lies in its shard (`start`, `tokens` count ids) and where it came from."""

    start: int
    tokens: int
    path: str
    source: str
    licence: str
    language: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One memory-mapped file of ids with the rows of its documents."""

    ids: npt.NDArray[np.unsignedinteger[Any]]
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class Ledger:
    """What happened to the documents on the way."""

    seen: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    licences: dict[str, str] = field(default_factory=dict)


def write_shards(origins: Sequence[Origin], tokenizer_file: Path, target: Path) -> dict[str, Any]:
    """Filter, deduplicate exactly, split and tokenise; returns the manifest.

    A document is held out when its project is, or when the hash of its path falls into the first
    0.5 %, so that a file keeps its side when other files come and go.

    Raises:
        ConfigError: `target` exists or nothing was left.
    """
    if target.exists():
        raise ConfigError(f"{target} exists; choose another --out or remove it")
    work = target.with_name(f".{target.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tokenizer = Tokenizer.from_file(tokenizer_file)
    shutil.copyfile(tokenizer_file, work / "tokenizer.json")
    ledger = Ledger()
    writers = {split: _ShardWriter(work, split, tokenizer) for split in (TRAIN, HELD_OUT)}
    for split, document in keep(origins, ledger):
        writers[split].add(document)
    counts = {split: writer.close() for split, writer in writers.items()}
    if not counts[TRAIN]["tokens"]:
        raise ConfigError("no document was left to train on; see the sources and their licences")
    files = {f.name: file_digest(f) for f in sorted(work.iterdir())}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "digest": folder_digest(files),
        "files": files,
        "vocab_size": tokenizer.vocab_size,
        "splits": counts,
        "documents_seen": ledger.seen,
        "dropped": dict(ledger.dropped),
        "sources": {
            name: {"licence": licence, "documents": ledger.kept[name]}
            for name, licence in ledger.licences.items()
            if ledger.kept[name]
        },
    }
    write_json(work / "manifest.json", manifest)
    work.rename(target)
    return manifest


def keep(origins: Iterable[Origin], ledger: Ledger | None = None) -> Iterator[tuple[str, Document]]:
    """Yield (split, document) for every document that passes the filters, duplicates once."""
    ledger = ledger or Ledger()
    known: set[str] = set()
    for origin in origins:
        ledger.licences[origin.name] = origin.licence
        for document in origin.documents():
            ledger.seen += 1
            reason = document.reason_to_drop()
            if reason is None and document.digest in known:
                reason = "duplicate"
            if reason is not None:
                ledger.dropped[reason] += 1
                continue
            known.add(document.digest)
            ledger.kept[origin.name] += 1
            yield (HELD_OUT if origin.held_out or _drawn(document) else TRAIN), document


def _drawn(document: Document) -> bool:
    key = hashlib.sha256(document.path.encode()).digest()
    return int.from_bytes(key[:8]) < HELD_OUT_SHARE * 2**64


class _ShardWriter:
    """Collects the documents of one split and writes a shard whenever enough have come."""

    def __init__(self, folder: Path, split: str, tokenizer: Tokenizer) -> None:
        self._folder, self._split, self._tokenizer = folder, split, tokenizer
        self._dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
        self._rows: list[npt.NDArray[Any]] = []
        self._entries: list[Entry] = []
        self._start = self._shards = self._tokens = self._documents = self._bytes = 0

    def add(self, document: Document) -> None:
        ids = np.asarray(self._tokenizer.encode(document.text), dtype=self._dtype)
        self._rows.append(ids)
        self._entries.append(
            Entry(
                self._start,
                len(ids),
                document.path,
                document.source,
                document.licence,
                document.language,
            )
        )
        self._start += len(ids)
        self._bytes += len(document.text.encode())
        if self._start >= SHARD_TOKENS:
            self._flush()

    def close(self) -> dict[str, int]:
        self._flush()
        return {
            "shards": self._shards,
            "documents": self._documents,
            "tokens": self._tokens,
            "bytes": self._bytes,
        }

    def _flush(self) -> None:
        if not self._rows:
            return
        stem = self._folder / f"{self._split}-{self._shards:05d}"
        np.save(stem.with_suffix(".npy"), np.concatenate(self._rows))
        rows = "".join(json.dumps(asdict(entry)) + "\n" for entry in self._entries)
        stem.with_suffix(".jsonl").write_text(rows, encoding="utf-8")
        self._shards += 1
        self._tokens += self._start
        self._documents += len(self._entries)
        self._rows, self._entries, self._start = [], [], 0


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
