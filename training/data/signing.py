"""The second step: decide by its tags whether a document goes on, and sign those that do.

Writes three tables a part: `marks` (why it is dropped, NULL if it is not), `bands` (keys under
which near duplicates meet) and `shingles` (for the exact Jaccard index).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.minhash import MIN_SHINGLES, band_keys, family, shingles, signature
from training.data.run import Run, whole
from training.data.tagging import documents

STEP = "marks"
BANDS, SHINGLES = "bands", "shingles"

_MARKS = pa.schema(
    [("key", pa.int64()), ("source", pa.string()), ("language", pa.string()),
     ("bytes", pa.int64()), ("reason", pa.string()), ("content", pa.string()),
     ("held_out", pa.bool_())]
)  # fmt: skip
_BANDS = pa.schema([("key", pa.int64()), ("band", pa.int64())])
_SHINGLES = pa.schema([("key", pa.int64()), ("shingles", pa.list_(pa.int64()))])


def sign_part(run: Run, part: int) -> None:
    """Write the part's marks; last of the three, so that all are there when it is."""
    dedup = run.config.dedup
    hashes = family(dedup.ngram, dedup.bands * dedup.rows, dedup.rows)
    drop = {name: rank for rank, name in enumerate(run.config.filters.drop)}
    marks: list[dict[str, object]] = []
    keys: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    bands: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    found: list[dict[str, object]] = []
    for row in documents(run, part):
        number, text = int(str(row["key"])), str(row["text"])
        tags = row["tags"]
        assert isinstance(tags, list)
        reason = min((t for t in tags if t in drop), key=drop.__getitem__, default=None)
        mark = {name: row[name] for name in ("key", "source", "language", "bytes", "held_out")}
        marks.append(mark | {"reason": reason, "content": None if reason else _content(text)})
        if reason or not dedup.near:
            continue
        mine = shingles(text, dedup.ngram, hashes)
        if len(mine) >= MIN_SHINGLES:
            bands.append(band_keys(signature(mine, hashes), dedup.bands, dedup.rows, hashes))
            keys.append(np.full(dedup.bands, number, dtype=np.int64))
            found.append({"key": number, "shingles": mine.astype(np.int64)})
    _write_bands(run.part(BANDS, part), keys, bands)
    _write(run.part(SHINGLES, part), pa.Table.from_pylist(found, _SHINGLES))
    _write(run.part(STEP, part), pa.Table.from_pylist(marks, _MARKS))


def _content(text: str) -> str:
    """Key of exact duplicates: the text without blanks at the ends of lines."""
    lines = "\n".join(map(str.rstrip, text.strip().split("\n")))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _write_bands(target: Path, keys: list[np.ndarray], bands: list[np.ndarray]) -> None:
    empty = np.zeros(0, dtype=np.int64)
    columns = [np.concatenate(c) if c else empty for c in (keys, bands)]
    _write(target, pa.Table.from_arrays([pa.array(c) for c in columns], schema=_BANDS))


def _write(target: Path, table: pa.Table) -> None:
    with whole(target) as partial:
        # Hashes repeat nowhere, so a dictionary of them is work for nothing.
        texts = [field.name for field in table.schema if field.type == pa.string()]
        pq.write_table(table, partial, compression="zstd", use_dictionary=texts)
