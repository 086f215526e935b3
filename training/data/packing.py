"""The last step: clean documents to token shards, with the lineage of each. See `shards.py`."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from evalkit.contamination import FILE as CONTAMINATION
from tabwright.artifact import file_digest, folder_digest, write_json
from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer
from training.data.cleaning import STEP as CLEAN
from training.data.contamination import met
from training.data.encoding import Encoder
from training.data.run import Run, whole
from training.data.shards import SCHEMA_VERSION, SPLITS, TRAIN, Entry, read_manifest

STEP = "tokens"
SHARDS, WORK, TOKENIZER = "shards", ".shards", "tokenizer.json"
_COUNTS = ("documents", "tokens", "bytes")
_ORIGIN = ("id", "source", "repo", "path", "licence", "language", "commit")
_KINDS = (".npy", ".jsonl", ".json")


def write_part(run: Run, part: int) -> None:
    """Tokenise what stays of one part into a shard of each split; the summary comes last."""
    encoder = _encoder((run.folder / TOKENIZER).read_text("utf-8"))
    folder = run.folder / WORK
    folder.mkdir(exist_ok=True)
    writers = {split: _Writer(folder / f"{split}-{part:05d}", encoder) for split in SPLITS}
    with pq.ParquetFile(run.part(CLEAN, part)) as file:
        for batch in file.iter_batches(256):
            for row in batch.to_pylist():
                writers[row["split"]].add(row)
    summary = {split: writer.close() for split, writer in writers.items()}
    with whole(run.part(STEP, part)) as partial:
        partial.write_text(json.dumps(summary), encoding="utf-8")


@lru_cache(1)
def _encoder(definition: str) -> Encoder:
    """Keep the words of one part for the next."""
    return Encoder(definition)


def publish(run: Run) -> dict[str, Any]:
    """Put the parts' shards together and write the manifest; returns it.

    Raises:
        ConfigError: no document was left to train on.
    """
    folder, target = run.folder / WORK, run.folder / SHARDS
    if not target.exists():
        shutil.copyfile(run.folder / TOKENIZER, folder / "tokenizer.json")
        write_json(folder / CONTAMINATION, met(run))
        manifest = _manifest(run, folder)
        if not manifest["splits"][TRAIN]["tokens"]:
            raise ConfigError("no document was left to train on; see the report for the reasons")
        write_json(folder / "manifest.json", manifest)
        folder.rename(target)
    return read_manifest(target)


def _manifest(run: Run, folder: Path) -> dict[str, Any]:
    splits = {split: Counter[str]() for split in SPLITS}
    sources: dict[str, Counter[str]] = {}
    licences: dict[str, Counter[str]] = {}
    for part in range(len(run.parts)):
        for source, licence in _licences(run, part):
            licences.setdefault(source, Counter())[licence] += 1
        summary = json.loads(run.part(STEP, part).read_text("utf-8"))
        for split, counts in summary.items():
            for source, row in counts.items():
                splits[split].update(row)
                if split == TRAIN:
                    sources.setdefault(source, Counter()).update(row)
    files = {f.name: file_digest(f) for f in sorted(folder.iterdir()) if f.suffix in _KINDS}
    weights = {source.name: source.weight for source in run.config.source}
    return {
        "schema_version": SCHEMA_VERSION,
        "digest": folder_digest(files),
        "files": files,
        "vocab_size": Tokenizer.from_file(folder / "tokenizer.json").vocab_size,
        "splits": {name: {key: counts[key] for key in _COUNTS} for name, counts in splits.items()},
        "config_digest": run.digest,
        "sources": {
            name: {
                "weight": weights[name],
                "licences": dict(sorted(licences[name].items())),
                **{key: counts[key] for key in _COUNTS},
            }
            for name, counts in sorted(sources.items())
        },
    }


def _licences(run: Run, part: int) -> Iterator[tuple[str, str]]:
    """Source and licence of every training document of a part."""
    names = ["source", "licence"]
    table = pq.read_table(run.part(CLEAN, part), columns=names, filters=[("split", "=", TRAIN)])
    yield from zip(*(table[name].to_pylist() for name in names), strict=True)


class _Writer:
    """Collects the documents of one part and split."""

    def __init__(self, stem: Path, encoder: Encoder) -> None:
        self._stem, self._encoder = stem, encoder
        self._rows: list[npt.NDArray[Any]] = []
        self._entries: list[Entry] = []
        self._start = 0
        self._counts: dict[str, Counter[str]] = {}

    def add(self, row: Mapping[str, str]) -> None:
        ids = self._encoder.encode(row["text"])
        origin = {name: row[name] for name in _ORIGIN}
        self._rows.append(ids)
        self._entries.append(Entry(start=self._start, tokens=len(ids), **origin))
        self._start += len(ids)
        size = len(row["text"].encode("utf-8", "surrogatepass"))
        counts = self._counts.setdefault(row["source"], Counter())
        counts.update({"documents": 1, "tokens": len(ids), "bytes": size})

    def close(self) -> dict[str, Counter[str]]:
        """Write the two files, if there is anything; returns the counts of each source."""
        for file in (self._stem.with_suffix(".npy"), self._stem.with_suffix(".jsonl")):
            file.unlink(missing_ok=True)
        if self._rows:
            np.save(self._stem.with_suffix(".npy"), np.concatenate(self._rows))
            rows = "".join(json.dumps(_stated(entry)) + "\n" for entry in self._entries)
            self._stem.with_suffix(".jsonl").write_text(rows, encoding="utf-8")
        return self._counts


def _stated(entry: Entry) -> dict[str, Any]:
    """What is known of a document: most have no commit."""
    return {name: value for name, value in asdict(entry).items() if name != "commit" or value}
