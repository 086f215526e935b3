"""Why a document was kept or dropped: its tags with evidence, what it repeats, where it went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tabwright.errors import ConfigError
from training.data.dedup import EDGES
from training.data.document import part_of
from training.data.keeping import FATES
from training.data.minhash import jaccard
from training.data.packing import SHARDS
from training.data.run import Run
from training.data.shards import SPLITS
from training.data.signing import SHINGLES
from training.data.tagging import STEP as DOCUMENTS

_ORIGIN = ("id", "source", "repo", "commit", "path", "language", "licence", "bytes", "held_out")
_NEIGHBOURS = 5


def explain(run: Run, column: str, value: str) -> list[dict[str, Any]]:
    """Tell all about the documents whose `id` or `path` is `value`, in the order of the sources.

    Raises:
        ConfigError: there is none, or the run has not yet decided on its documents.
    """
    if not run.table(FATES).exists():
        raise ConfigError(f"{run.folder}: nothing is decided yet; finish the run")
    found = _documents(run, [(column, "=", value)], ("tags", "evidence"))
    if not found:
        raise ConfigError(f"--{column} {value}: {run.folder} read no such document")
    return [_explain(run, row) for row in sorted(found, key=lambda row: row["key"])]


def _documents(
    run: Run, filters: list[tuple[str, str, Any]], more: Sequence[str] = ()
) -> list[dict[str, Any]]:
    table = pq.read_table(run.table(DOCUMENTS), columns=["key", *_ORIGIN, *more], filters=filters)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _explain(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    key = row["key"]
    fate = pq.read_table(run.table(FATES), filters=[("key", "=", key)]).to_pylist()[0]
    copies = pq.read_table(run.table(FATES), columns=["key"], filters=[("keeper", "=", key)])
    drop = run.config.filters.drop
    return {
        **{name: row[name] for name in _ORIGIN},
        "tags": [
            {"tag": tag, "evidence": evidence, "drops": tag in drop}
            for tag, evidence in zip(row["tags"], row["evidence"], strict=True)
        ],
        "fate": fate["reason"] or "kept",
        "duplicate_of": _keeper(run, key, fate["keeper"]),
        "alike": _alike(run, key),
        "copies": len(copies),
        "shards": _place(run, key, row["id"]),
    }


def _keeper(run: Run, key: int, keeper: int | None) -> dict[str, Any] | None:
    """The document that stayed instead; of an exact duplicate it has the same text."""
    if keeper is None:
        return None
    found = _documents(run, [("key", "=", keeper)])[0]
    table = pq.read_table(run.table(SHINGLES), filters=[("key", "in", [key, keeper])])
    sets = dict(zip(table["key"].to_pylist(), table["shingles"].to_pylist(), strict=True))
    both = [np.array(sets[k], dtype=np.int64) for k in (key, keeper) if k in sets]
    index = jaccard(*both) if len(both) == 2 else None
    return {name: found[name] for name in ("id", "repo", "path")} | {"jaccard": index}


def _alike(run: Run, key: int) -> list[dict[str, Any]]:
    """The documents whose Jaccard index with this one was found to reach the threshold."""
    if not run.table(EDGES).exists():
        return []
    edges = pq.read_table(run.table(EDGES), filters=[[("a", "=", key)], [("b", "=", key)]])
    rows = sorted(edges.to_pylist(), key=lambda row: (-row["jaccard"], row["a"], row["b"]))
    others = {(r["b"] if r["a"] == key else r["a"]): r["jaccard"] for r in rows[:_NEIGHBOURS]}
    found = {row["key"]: row for row in _documents(run, [("key", "in", list(others))])}
    return [
        {name: found[other][name] for name in ("id", "repo", "path")} | {"jaccard": index}
        for other, index in others.items()
    ]


def _place(run: Run, key: int, document_id: str) -> dict[str, Any] | None:
    """The shard of a document and the ids that are its; None if it is in none."""
    for split in SPLITS:
        file = run.folder / SHARDS / f"{split}-{part_of(key):05d}.jsonl"
        if not file.exists():
            continue
        with file.open(encoding="utf-8") as rows:
            for row in map(json.loads, rows):
                if row["id"] == document_id:
                    shard = file.with_suffix(".npy").name
                    return {"shard": shard, "start": row["start"], "tokens": row["tokens"]}
    return None
