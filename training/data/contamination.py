"""Which benchmark tasks are in the training split, as evalkit reads it from `contamination.json`.

The list is empty when every document that holds a task was dropped; the ledger tells of those.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.data.benchmarks import Task, task_of
from training.data.cleaning import STEP as CLEAN
from training.data.run import Run
from training.data.shards import TRAIN
from training.data.taggers.contamination import TAG
from training.data.tagging import STEP as DOCUMENTS

_EVIDENCE = 20


def met(run: Run) -> dict[str, list[dict[str, Any]]]:
    """List every task and kind met, with the first lineage ids of the documents that hold it."""
    places: dict[Task, set[str]] = {}
    for part in range(len(run.parts)):
        table = pq.read_table(run.part(CLEAN, part), columns=["id", "split"])
        staying = set(table.filter(pc.equal(table["split"], TRAIN))["id"].to_pylist())
        for document_id, evidence in _tagged(run, part):
            if document_id in staying:
                places.setdefault(task_of(evidence), set()).add(document_id)
    hits = []
    for (benchmark, task_id, kind), ids in sorted(places.items()):
        hit = {"benchmark": benchmark, "task_id": task_id, "kind": kind}
        hits.append(hit | {"evidence": sorted(ids)[:_EVIDENCE]})
    return {"hits": hits}


def _tagged(run: Run, part: int) -> list[tuple[str, str]]:
    """Lineage id and evidence of every tag of this kind in one part."""
    table = pq.read_table(run.part(DOCUMENTS, part), columns=["id", "tags", "evidence"])
    rows = pc.list_parent_indices(table["tags"])
    here = pc.equal(pc.list_flatten(table["tags"]), TAG)
    ids = table["id"].take(rows.filter(here)).to_pylist()
    return list(zip(ids, pc.list_flatten(table["evidence"]).filter(here).to_pylist(), strict=True))
