"""Whether a report keeps the limits: `python -m loadtest.verdict REPORT [--limits FILE]`.

A figure that the report does not have counts as a broken limit: what was not measured was not kept.
Exit codes: 0 kept, 1 broken, 2 a file cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LIMITS = Path(__file__).with_name("limits.toml")


class Limit(NamedTuple):
    """The most and the least that one figure may be; None: no bound on that side."""

    figure: str
    most: float | None
    least: float | None


class Judged(NamedTuple):
    """One limit, what was measured, and whether it was kept."""

    limit: Limit
    value: float | None
    kept: bool


def read_limits(path: Path = LIMITS) -> list[Limit]:
    """Read a file of limits.

    Raises:
        ValueError: it is no such file; the message names the line that is wrong.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get("limit")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: no [[limit]] in it")
    limits = []
    for number, row in enumerate(rows, 1):
        bounds = [row.get(name) for name in ("most", "least")]
        known = set(row) <= {"figure", "most", "least"} and isinstance(row.get("figure"), str)
        numbers = [b for b in bounds if isinstance(b, int | float) and not isinstance(b, bool)]
        if not known or not numbers or len(numbers) != sum(b is not None for b in bounds):
            raise ValueError(f"{path}: limit {number} is {row}; give figure, and most or least")
        limits.append(Limit(row["figure"], *bounds))
    return limits


def judge(report: Mapping[str, Any], limits: Sequence[Limit]) -> list[Judged]:
    """Compare a report with limits."""
    judged = []
    for limit in limits:
        value: Any = report
        for name in limit.figure.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        kept = (
            isinstance(value, int | float)
            and (limit.most is None or value <= limit.most)
            and (limit.least is None or value >= limit.least)
        )
        judged.append(Judged(limit, value, kept))
    return judged


def table(judged: Sequence[Judged]) -> str:
    """Render the comparison as text."""
    lines = []
    for limit, value, kept in judged:
        bounds = [f"most {limit.most:g}"] if limit.most is not None else []
        bounds += [f"least {limit.least:g}"] if limit.least is not None else []
        shown = "not measured" if value is None else f"{value:g}"
        lines.append(
            f"{'kept' if kept else 'BROKEN':<8}{limit.figure:<34}{shown:>12}  {', '.join(bounds)}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Judge a report file; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.verdict",
        description="Compare a load test's report with limits.",
        epilog="Example: python -m loadtest.verdict report.json --limits limits.toml",
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("--limits", type=Path, default=LIMITS)
    options = parser.parse_args(argv)
    try:
        report = json.loads(options.report.read_text(encoding="utf-8"))
        judged = judge(report, read_limits(options.limits))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(judged))
    return 0 if all(row.kept for row in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
