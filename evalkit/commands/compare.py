"""`evalkit compare A B`: is run B better than run A, and is it at least not worse?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.estimate import by_task
from evalkit.runs import read_report
from evalkit.statistics import compare
from tabwright.errors import InvalidRequest


def main(argv: Sequence[str]) -> int:
    """Compare and print; 1 if B is not shown to be non-inferior where a margin was asked for."""
    parser = argparse.ArgumentParser(
        prog="evalkit compare",
        description="Compare two runs of one benchmark task by task (paired bootstrap, McNemar).",
        epilog="Example: evalkit compare runs/old runs/new -k 1 --margin 0.02",
    )
    parser.add_argument("before", type=Path, help="folder of run A")
    parser.add_argument("after", type=Path, help="folder of run B")
    parser.add_argument("-k", type=int, default=1)
    parser.add_argument(
        "--margin", type=float, help="the most that B may be worse (exit 1 if more)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    before, after = read_report(args.before), read_report(args.after)
    if before["benchmark"] != after["benchmark"]:
        raise InvalidRequest("after", after["benchmark"], f"run A is of {before['benchmark']}")
    result: dict[str, Any] = {"k": args.k, "languages": {}}
    kept = True
    for language in sorted(before["languages"].keys() & after["languages"].keys()):
        found = compare(
            by_task(before["languages"][language]["by_task"], args.k),
            by_task(after["languages"][language]["by_task"], args.k),
        )
        row = found._asdict() | {"difference": found.difference._asdict()}
        if args.margin is not None:
            row["non_inferior"] = found.non_inferior(args.margin)
            kept &= row["non_inferior"]
        result["languages"][language] = row
    if not result["languages"]:
        raise InvalidRequest("after", str(args.after), "the runs have no language in common")
    print(json.dumps(result, indent=2) if args.json else _table(result))
    return 0 if kept else 1


def _table(result: Mapping[str, Any]) -> str:
    lines = []
    for language, row in result["languages"].items():
        diff = row["difference"]
        verdict = {True: ", not worse", False: ", not shown to be as good"}.get(
            row.get("non_inferior"), ""
        )
        lines.append(
            f"{language}: pass@{result['k']} {diff['value']:+.4f} "
            f"[{diff['low']:+.4f}, {diff['high']:+.4f}] over {row['tasks']} tasks; "
            f"{row['better']} better, {row['worse']} worse, p = {row['mcnemar_p']:.3g}{verdict}"
        )
    return "\n".join(lines)
