"""The ledger of a run: what went in and out of every step, and what was removed, to look at.

Rows and raw bytes are counted. Tokens are counted in the shards; before that they are estimated
from the bytes, by the tokens per byte that the language has in the shards (all languages together
where it has none). Samples of what was removed are the first by id, so every engine shows the same.
The counts are SQL over the run's tables. Read `write_ledger` first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tabwright.artifact import write_json
from tabwright.errors import ConfigError, CorruptArtifact
from training.data.benchmarks import present, task_of
from training.data.cleaning import STEP as CLEAN
from training.data.cleaning import replaced
from training.data.engine import DataEngine
from training.data.keeping import EXACT_DUPLICATE, FATES, NEAR_DUPLICATE
from training.data.ledger_page import render
from training.data.packing import SHARDS
from training.data.privacy.anonymise import anonymise
from training.data.run import Run, whole
from training.data.taggers.contamination import TAG
from training.data.tagging import STEP as DOCUMENTS

FILE, PAGE = "ledger.json", "ledger.html"
SAMPLES = 50
_EXCERPT = 600

_FLOW_SQL = """
SELECT source, language, reason, count(*) AS documents, sum(bytes) AS bytes
FROM fates GROUP BY source, language, reason
"""

_CLEAN_SQL = """
SELECT source, language, count(*) AS documents, sum(bit_length(text)) AS bits
FROM clean GROUP BY source, language
"""

_HITS_SQL = """
SELECT d.tags AS tags, d.evidence AS evidence, f.reason IS NULL AS stays
FROM documents d JOIN fates f ON d.key = f.key WHERE array_contains(d.tags, 'contamination')
"""

_TAGS_SQL = "SELECT tags, count(*) AS documents FROM documents GROUP BY tags"

# Bucket n holds what has n binary digits: [2^(n-1), 2^n), and 0 lies with 1.
_SIZES_SQL = """
SELECT length(bin(bytes)) AS bucket, reason IS NULL AS stays, count(*) AS documents
FROM fates GROUP BY length(bin(bytes)), reason IS NULL
"""

_LINES_SQL = """
SELECT length(bin(mean)) AS bucket, stays, count(*) AS documents FROM (
  SELECT CAST(floor(length(d.text) / (length(d.text) - length(replace(d.text, chr(10), '')) + 1))
    AS BIGINT) AS mean, f.reason IS NULL AS stays
  FROM documents d JOIN fates f ON d.key = f.key
) AS means GROUP BY length(bin(mean)), stays
"""

_SAMPLES_SQL = f"""
WITH ranked AS (
  SELECT f.key AS key, f.reason AS reason, f.keeper AS keeper,
    row_number() OVER (PARTITION BY f.reason ORDER BY d.id, f.key) AS turn
  FROM fates f JOIN documents d ON f.key = d.key WHERE f.reason IS NOT NULL
), chosen AS (SELECT key, reason, keeper, turn FROM ranked WHERE turn <= {SAMPLES})
SELECT c.reason, d.id, d.source, d.repo, d.path, d.language, d.bytes, d.tags, d.evidence,
  k.id AS kept_id, k.repo AS kept_repo, k.path AS kept_path, substring(d.text, 1, {_EXCERPT})
FROM chosen c JOIN documents d ON c.key = d.key LEFT JOIN documents k ON c.keeper = k.key
ORDER BY c.reason, c.turn
"""


class _Count(NamedTuple):
    """Documents and bytes of one source and language."""

    documents: int
    bytes: int


_Cell = tuple[str, str]  # source, language
_Ratios = dict[str, float]
_NOTHING = _Count(0, 0)


def write_ledger(engine: DataEngine, run: Run) -> dict[str, Any]:
    """Write `ledger.json` and `ledger.html` into the run's folder; returns the ledger.

    Raises:
        ConfigError: the run has not yet decided on its documents.
        CorruptArtifact: the shards hold another number of documents than were kept.
    """
    if not run.table(FATES).exists():
        raise ConfigError(f"{run.folder}: nothing is decided yet; finish the run")
    ledger = _ledger(engine, run)
    with whole(run.folder / PAGE) as partial:
        partial.write_text(render(ledger), encoding="utf-8")
    write_json(run.folder / FILE, ledger)
    return ledger


def _ledger(engine: DataEngine, run: Run) -> dict[str, Any]:
    views = {"fates": run.table(FATES), "documents": run.table(DOCUMENTS)}
    flow = engine.rows(_FLOW_SQL, views)
    clean: dict[_Cell, _Count] = {}
    if run.table(CLEAN).exists():
        for source, language, documents, bits in engine.rows(
            _CLEAN_SQL, {"clean": run.table(CLEAN)}
        ):
            clean[source, language] = _Count(int(documents), int(bits or 0) // 8)
    tokens = _tokens(run.folder / SHARDS, clean)
    ratios = _ratios(tokens, clean)
    reasons: dict[str, Counter[str]] = {}
    for _, language, reason, documents, size in flow:
        if reason is not None:
            tokens_lost = _estimate(ratios, language, size)
            row = {"documents": int(documents), "bytes": int(size), "tokens": tokens_lost}
            reasons.setdefault(reason, Counter()).update(row)
    tags: Counter[str] = Counter()
    for names, documents in engine.rows(_TAGS_SQL, views):
        for name in set(names):
            tags[name] += int(documents)
    return {
        "config_digest": run.digest,
        "steps": _steps(flow, clean, tokens, ratios),
        "reasons": {name: dict(reasons[name]) for name in sorted(reasons)},
        "tags": dict(sorted(tags.items())),
        "contamination": {
            "looked_for": sorted(present(run.config.contamination)),
            "met": _met(engine.rows(_HITS_SQL, views)),
        },
        "replaced": replaced(run) if clean else {},
        "histograms": {
            "bytes": _histogram(engine.rows(_SIZES_SQL, views)),
            "mean_line": _histogram(engine.rows(_LINES_SQL, views)),
        },
        "samples": _samples(engine.rows(_SAMPLES_SQL, views), run.config.seed),
    }  # fmt: skip


def _tokens(shards: Path, clean: Mapping[_Cell, _Count]) -> dict[_Cell, int] | None:
    """Tokens in the shards; None while there are none."""
    if not shards.exists():
        return None
    tokens: dict[_Cell, int] = {}
    documents: Counter[_Cell] = Counter()
    for file in sorted(shards.glob("*.jsonl")):
        with file.open(encoding="utf-8") as rows:
            for row in map(json.loads, rows):
                cell = (row["source"], row["language"])
                tokens[cell] = tokens.get(cell, 0) + row["tokens"]
                documents[cell] += 1
    if documents != {cell: count.documents for cell, count in clean.items()}:
        raise CorruptArtifact(f"{shards}: other documents than the run kept; write them again")
    return tokens


def _ratios(tokens: dict[_Cell, int] | None, clean: Mapping[_Cell, _Count]) -> _Ratios:
    """Tokens per byte by language, and of all under ""; nothing while there are no shards."""
    found: dict[str, tuple[int, int]] = {}
    for cell, count in (tokens or {}).items():
        for name in ("", cell[1]):
            before = found.get(name, (0, 0))
            found[name] = (before[0] + count, before[1] + clean[cell].bytes)
    return {name: count / size for name, (count, size) in found.items() if size}


def _estimate(ratios: _Ratios, language: str, size: int) -> int:
    return round(ratios.get(language, ratios[""]) * int(size)) if ratios else 0


def _steps(
    flow: list[tuple[Any, ...]],
    clean: Mapping[_Cell, _Count],
    tokens: dict[_Cell, int] | None,
    ratios: _Ratios,
) -> list[dict[str, Any]]:
    """A row a step, source and language, in the order of the steps."""
    left: dict[_Cell, dict[str | None, _Count]] = {}
    for source, language, reason, documents, size in flow:
        left.setdefault((source, language), {})[reason] = _Count(int(documents), int(size))
    rows = []
    for cell in sorted(left):
        for step, before, after in _through(left[cell]):
            known = step == "clean" and cell in clean
            rows.append(_row(step, cell, before, clean[cell] if known else after, ratios))
            if known and tokens is not None:
                rows[-1]["tokens_out"] = tokens[cell]
    order = ("filters", "exact_duplicates", "near_duplicates", "clean")
    return sorted(rows, key=lambda row: order.index(row["step"]))


def _through(fates: Mapping[str | None, _Count]) -> Iterator[tuple[str, _Count, _Count]]:
    """The documents of one source and language before and after each step."""
    kept = fates.get(None, _NOTHING)
    unlike = _sum(kept, fates.get(NEAR_DUPLICATE, _NOTHING))
    passed = _sum(unlike, fates.get(EXACT_DUPLICATE, _NOTHING))
    everything = _NOTHING
    for count in fates.values():
        everything = _sum(everything, count)
    yield "filters", everything, passed
    yield "exact_duplicates", passed, unlike
    yield "near_duplicates", unlike, kept
    yield "clean", kept, kept


def _sum(left: _Count, right: _Count) -> _Count:
    return _Count(left.documents + right.documents, left.bytes + right.bytes)


def _row(step: str, cell: _Cell, before: _Count, after: _Count, ratios: _Ratios) -> dict[str, Any]:
    return {
        "step": step,
        "source": cell[0],
        "language": cell[1],
        "rows_in": before.documents,
        "rows_out": after.documents,
        "bytes_in": before.bytes,
        "bytes_out": after.bytes,
        "tokens_in": _estimate(ratios, cell[1], before.bytes),
        "tokens_out": _estimate(ratios, cell[1], after.bytes),
    }


def _met(rows: list[tuple[Any, ...]]) -> dict[str, dict[str, int]]:
    """Tasks of each benchmark that some document held, and those that a kept one holds."""
    tasks: dict[str, tuple[set[str], set[str]]] = {}
    for tags, evidence, stays in rows:
        for tag, place in zip(tags, evidence, strict=True):
            if tag == TAG:
                task = task_of(place)
                read, kept = tasks.setdefault(task.benchmark, (set(), set()))
                read.add(task.task_id)
                kept.update([task.task_id] if stays else [])
    return {
        name: {"tasks_read": len(read), "tasks_kept": len(kept)}
        for name, (read, kept) in sorted(tasks.items())
    }


def _histogram(rows: list[tuple[Any, ...]]) -> list[dict[str, int]]:
    """Documents by size: `below` is the end of the bucket, twice its start."""
    buckets: dict[int, dict[str, int]] = {}
    for bucket, stays, documents in rows:
        row = buckets.setdefault(int(bucket), {"below": 2 ** int(bucket), "kept": 0, "removed": 0})
        row["kept" if stays else "removed"] += int(documents)
    return [buckets[bucket] for bucket in sorted(buckets)]


def _samples(rows: list[tuple[Any, ...]], seed: int) -> dict[str, list[dict[str, Any]]]:
    samples: dict[str, list[dict[str, Any]]] = {}
    names = ("id", "source", "repo", "path", "language", "bytes")
    for reason, *rest in rows:
        tags, evidence, kept_id, kept_repo, kept_path, excerpt = rest[6:]
        row = dict(zip(names, rest[:6], strict=True))
        row["tags"] = [list(pair) for pair in zip(tags, evidence, strict=True)]
        if kept_id is not None:
            row["duplicate_of"] = {"id": kept_id, "repo": kept_repo, "path": kept_path}
        shown = anonymise(str(excerpt or ""), str(row["repo"]), seed).text
        samples.setdefault(reason, []).append(row | {"excerpt": shown})
    return samples
