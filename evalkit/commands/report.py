"""`evalkit report RUN`: the report of a finished run, as text, JSON or a page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.page import render
from evalkit.runs import read_report, write_page
from evalkit.specimens import run_specimens


def main(argv: Sequence[str]) -> int:
    """Show it."""
    parser = argparse.ArgumentParser(
        prog="evalkit report",
        description="Show a finished run, or write it as one HTML page.",
        epilog="Example: evalkit report runs/humaneval-7m --html report.html",
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--html", type=Path, help="file for the page")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    args = parser.parse_args(argv)
    report = read_report(args.run)
    if args.html:
        write_page(args.html, render(report, run_specimens(args.run, report)))
        print(f"wrote {args.html}", file=sys.stderr)
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0


def table(report: Mapping[str, Any]) -> str:
    """Render the scores as text."""
    lines = []
    if left_out := report.get("left_out"):
        lines.append(f"left out of the benchmark: {len(left_out)} tasks (see `evalkit list`)")
    for language, row in report["languages"].items():
        counts = ", ".join(f"{count} {name}" for name, count in row["outcomes"].items())
        lines.append(f"{language}: {row['tasks']} tasks, {row['samples']} samples: {counts}")
        for k, found in row["pass_at_k"].items():
            left = f", {found['left_out']} tasks left out" if found["left_out"] else ""
            lines.append(
                f"  pass@{k:<4} {found['value']:.4f}  "
                f"95 % [{found['low']:.4f}, {found['high']:.4f}]{left}"
            )
        if "contamination" in row:
            without = row["contamination"]["without"]["pass_at_k"]
            scores = ", ".join(f"pass@{k} {found['value']:.4f}" for k, found in without.items())
            met = len(row["contamination"]["hits"])
            lines.append(f"  without the {met} tasks met in training: {scores or 'none'}")
    return "\n".join(lines)
