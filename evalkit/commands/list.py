"""`evalkit list`: the benchmarks that can be loaded, and their languages."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from evalkit.registry import benchmark_names, load_benchmark
from tabwright.errors import TabwrightError


def main(argv: Sequence[str]) -> int:
    """List them; one that cannot be loaded says why."""
    parser = argparse.ArgumentParser(
        prog="evalkit list",
        description="List benchmarks with their languages and numbers of problems.",
        epilog="Example: evalkit list --json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    rows = {name: _row(name) for name in sorted(benchmark_names())}
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for name, row in rows.items():
        if "problems" in row:
            counts = ", ".join(f"{lang} {count}" for lang, count in row["problems"].items())
            print(f"{name:<16}{counts}")
            for task_id, reason in row["left_out"].items():
                print(f"{'':<16}without {task_id}: {reason}")
        else:
            print(f"{name:<16}{row['unavailable']}")
    return 0


def _row(name: str) -> dict[str, Any]:
    try:
        benchmark = load_benchmark(name)
        return {
            "problems": {lang: len(benchmark.problems(lang)) for lang in benchmark.languages},
            "left_out": dict(benchmark.left_out),
        }
    except TabwrightError as error:
        return {"unavailable": str(error)}
