"""The step that makes the text which leaves: documents that stay, with nobody's data in them.

What this writes is all that the tokenizer and the shards ever see.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from training.data.document import key
from training.data.keeping import FATES
from training.data.privacy.anonymise import anonymise
from training.data.run import Run, whole
from training.data.shards import HELD_OUT, TRAIN
from training.data.tagging import documents

STEP = "clean"
_COPIED = ("id", "source", "repo", "path", "commit", "licence", "language")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in _COPIED]
    + [("split", pa.string()), ("text", pa.large_string()), ("replaced", pa.list_(pa.string()))]
)


def clean_part(run: Run, part: int) -> None:
    """Write the documents of a part that stay."""
    staying = _staying(run, part)
    rows = []
    for document in documents(run, part):
        if document["key"] in staying:
            row = {name: document[name] for name in _COPIED} | {"split": _split(run, document)}
            rows.append(row | _without_anybody(run, document))
    with whole(run.part(STEP, part)) as partial:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), partial, compression="zstd")


def replaced(run: Run) -> dict[str, int]:
    """Count what was replaced in the documents that leave, by kind."""
    counts = Counter[str]()
    for part in range(len(run.parts)):
        kinds = pq.read_table(run.part(STEP, part), columns=["replaced"])["replaced"]
        counts.update(kind for row in kinds.to_pylist() for kind in row)
    return dict(sorted(counts.items()))


def _without_anybody(run: Run, document: dict[str, object]) -> dict[str, object]:
    text, repo = str(document["text"]), str(document["repo"])
    if not run.config.privacy.replace:
        return {"text": text, "replaced": []}
    done = anonymise(text, repo, run.config.seed)
    return {"text": done.text, "replaced": list(done.kinds)}


def _staying(run: Run, part: int) -> set[object]:
    bounds = [("key", ">=", key(part, 0)), ("key", "<", key(part + 1, 0))]
    table = pq.read_table(run.table(FATES), columns=["key", "reason"], filters=bounds)
    rows = zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return {number for number, reason in rows if reason is None}


def _split(run: Run, document: dict[str, object]) -> str:
    """A held-out repository, or the hash of the path within the first share of all hashes."""
    digest = hashlib.sha256(str(document["path"]).encode("utf-8", "surrogatepass")).digest()
    drawn = int.from_bytes(digest[:8]) < run.config.splits.held_out_share * 2**64
    return HELD_OUT if document["held_out"] or drawn else TRAIN
