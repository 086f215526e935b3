"""The global step: which documents say the same, and which of them stays.

Exact duplicates share the hash of their text. Candidates for near duplicates share bands; the exact
Jaccard index of their shingles decides; what is linked forms a group (connected components). Of a
group the document that comes first stays, so the order of the sources in the configuration says
which is preferred. Everything but the Jaccard index is SQL that DuckDB and Spark both run.
Read `deduplicate` first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabwright.errors import EngineFailed
from training.data.engine import DataEngine, Step
from training.data.minhash import jaccard
from training.data.run import Run, whole
from training.data.signing import BANDS, SHINGLES
from training.data.signing import STEP as MARKS

EXACT, PAIRS, EDGES, GROUPS = "exact", "pairs", "edges", "groups"
# In a larger bucket each document is compared with the first one only: all pairs would be squares.
_ALL_PAIRS = 64
_MAX_ROUNDS = 60
_PAIRS_PER_BATCH = 2000

EXACT_SQL = """
SELECT m.key AS key, f.keeper AS keeper
FROM marks m JOIN (
  SELECT content, min(key) AS keeper FROM marks
  WHERE reason IS NULL GROUP BY content HAVING count(*) > 1
) f ON m.content = f.content
WHERE m.key <> f.keeper
"""

PAIRS_SQL = """
WITH kept AS (
  SELECT b.key AS key, b.band AS band FROM bands b
  WHERE NOT EXISTS (SELECT 1 FROM exact e WHERE e.key = b.key)
), buckets AS (
  SELECT band, min(key) AS head, count(*) AS members FROM kept GROUP BY band HAVING count(*) > 1
), met AS (
  SELECT x.key AS a, y.key AS b, 1 AS matches
  FROM kept x JOIN buckets s ON x.band = s.band JOIN kept y ON y.band = x.band
  WHERE s.members <= {all_pairs} AND x.key < y.key
  UNION ALL
  SELECT s.head AS a, x.key AS b, {min_matches} AS matches
  FROM kept x JOIN buckets s ON x.band = s.band
  WHERE s.members > {all_pairs} AND x.key <> s.head
), candidates AS (
  SELECT a, b FROM met GROUP BY a, b HAVING sum(matches) >= {min_matches}
)
SELECT c.a AS a, c.b AS b, x.shingles AS left_shingles, y.shingles AS right_shingles
FROM candidates c JOIN shingles x ON x.key = c.a JOIN shingles y ON y.key = c.b
"""

FIRST_LABELS_SQL = """
SELECT key, min(label) AS label FROM (
  SELECT a AS key, a AS label FROM edges
  UNION ALL SELECT b AS key, a AS label FROM edges
) AS both_ends GROUP BY key
"""

# A document takes the lowest label of those it is linked to, then the label of that label.
NEXT_LABELS_SQL = """
WITH spread AS (
  SELECT key, min(label) AS label FROM (
    SELECT key, label FROM labels
    UNION ALL SELECT e.b AS key, l.label AS label FROM edges e JOIN labels l ON e.a = l.key
    UNION ALL SELECT e.a AS key, l.label AS label FROM edges e JOIN labels l ON e.b = l.key
  ) AS heard GROUP BY key
)
SELECT s.key AS key, least(s.label, t.label) AS label
FROM spread s JOIN spread t ON s.label = t.key
"""

CHANGED_SQL = """
SELECT count(*) FROM labels_before x JOIN labels_after y ON x.key = y.key
WHERE x.label <> y.label
"""


def deduplicate(engine: DataEngine, run: Run) -> None:
    """Write the tables `exact` and `groups`: key and keeper of every document that repeats another.

    Raises:
        EngineFailed: a worker died, or groups did not settle.
    """
    marks, bands = run.table(MARKS), run.table(BANDS)
    engine.query(EXACT_SQL, {"marks": marks}, run.table(EXACT))
    sql = PAIRS_SQL.format(all_pairs=_ALL_PAIRS, min_matches=run.config.dedup.min_matches)
    views = {"bands": bands, "exact": run.table(EXACT), "shingles": run.table(SHINGLES)}
    engine.query(sql, views, run.table(PAIRS))
    files = sorted(run.table(PAIRS).glob("*.parquet"))
    engine.map(Step(EDGES, verify_pairs), run, range(len(files)))
    _group(engine, run)


def verify_pairs(run: Run, number: int) -> None:
    """Keep the candidate pairs of one file whose exact Jaccard index reaches the threshold."""
    file = sorted(run.table(PAIRS).glob("*.parquet"))[number]
    kept: dict[str, list[float]] = {"a": [], "b": [], "jaccard": []}
    with pq.ParquetFile(file) as pairs:
        for batch in pairs.iter_batches(_PAIRS_PER_BATCH):
            left, right = batch["left_shingles"], batch["right_shingles"]
            for at, (a, b) in enumerate(zip(batch["a"], batch["b"], strict=True)):
                alike = jaccard(_values(left[at]), _values(right[at]))
                if alike >= run.config.dedup.threshold:
                    for name, value in (("a", a.as_py()), ("b", b.as_py()), ("jaccard", alike)):
                        kept[name].append(value)
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("jaccard", pa.float64())])
    with whole(run.part(EDGES, number)) as partial:
        pq.write_table(pa.table(kept, schema=schema), partial, compression="zstd")


def _values(row: pa.ListScalar) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values: np.ndarray[tuple[int], np.dtype[np.int64]] = row.values.to_numpy()
    return values


def _group(engine: DataEngine, run: Run) -> None:
    """Spread the lowest key through every group until nothing changes."""
    target = run.table(GROUPS)
    if target.exists():
        return
    edges = run.table(EDGES)
    before = _round(run, 0)
    engine.query(FIRST_LABELS_SQL, {"edges": edges}, before)
    for number in range(1, _MAX_ROUNDS):
        after = _round(run, number)
        engine.query(NEXT_LABELS_SQL, {"edges": edges, "labels": before}, after)
        views = {"labels_before": before, "labels_after": after}
        if not engine.rows(CHANGED_SQL, views)[0][0]:
            sql = "SELECT key, label AS keeper FROM labels WHERE key <> label"
            engine.query(sql, {"labels": after}, target)
            return
        before = after
    raise EngineFailed(f"groups of near duplicates did not settle in {_MAX_ROUNDS} rounds")


def _round(run: Run, number: int) -> Path:
    return run.table(f"labels-{number:02d}")
