"""Measures the training loader alone: tokens a second and memory over time, by kind of example.

python docs/results/loader.py SHARDS OUT.json [--context 1024] [--seconds 20] [--need RATE]

`--need`: tokens a second that a trainer takes, from a run's `metrics.jsonl`; the ratio is printed.
Each kind is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import psutil

from training.config import DataSection
from training.data.shards import TRAIN
from training.reading import open_loader

KINDS: dict[str, dict[str, Any]] = {
    "next token": {"fim_rate": 0.0},
    "FIM, half of the windows": {},
    "FIM, all windows": {"fim_rate": 1.0},
    "FIM, half of the documents": {"fim_level": "document"},
    "prefix-LM, half": {"fim_rate": 0.0, "prefix_rate": 0.5},
    "syntax, half": {"spans": {"line": 0, "character": 0, "syntax": 1}},
}
ROWS = 64


def measure(kind: str, shards: Path, context: int, seconds: float) -> dict[str, Any]:
    """Read batches for so long; memory is read in the middle and at the end."""
    section = DataSection(context=context, batch_rows=ROWS, micro_rows=ROWS, **KINDS[kind])
    began = time.perf_counter()
    loader = open_loader(section, shards, TRAIN)
    loader.batch(0, ROWS)
    opened, step, sizes = time.perf_counter() - began, 1, []
    padding = tokens = 0
    process = psutil.Process()
    began, busy = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        documents_BT = loader.batch(step, ROWS).documents_BT
        padding += int((documents_BT < 0).sum())
        tokens += documents_BT.size
        sizes.append(process.memory_info().rss / 1e6)
        step += 1
    wall, busy = time.perf_counter() - began, time.process_time() - busy
    return {
        "kind": kind, "context": context, "tokens": tokens, "tokens_a_second": tokens / wall,
        "tokens_a_processor_second": tokens / busy, "padding": padding / tokens,
        "seconds_to_first_batch": opened, "rss_mb_halfway": sizes[len(sizes) // 2],
        "rss_mb_end": sizes[-1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def main() -> None:
    """Measure every kind and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--need", type=float, help="tokens a second that a trainer takes")
    args = parser.parse_args()
    rows = []
    for kind in KINDS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (kind, args.shards, args.context, args.seconds))
        if args.need:
            row["times_the_need"] = row["tokens_a_second"] / args.need
        rows.append(row)
        print(json.dumps(row), flush=True)
    args.out.write_text(json.dumps({"need": args.need, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
