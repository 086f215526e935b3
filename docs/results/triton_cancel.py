"""Measure cancelling through the gateway and a real Triton; print JSON.

The six paths and 500 random cancels are those of `tabwright cancel-bench`; then Triton itself is
asked what is left: its gauges, its memory after a first and after a last run, its shared memory
when it has ended. Exit code 1 where something is left or a path's p95 is above 50 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from docs.results.triton_node import Measured, measured, where

LIMIT_MS = 50.0
BOUND_S = 180


def bench(server: Measured, rounds: int, cancels: int) -> dict[str, Any]:
    """One run of the command."""
    command = [
        *(sys.executable, "-m", "tabwright", "cancel-bench", "--engine", "triton", "--json"),
        *("--triton-url", server.url, "--rounds", str(rounds), "--cancels", str(cancels)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main() -> int:
    """Measure and print."""
    with measured() as server:
        bench(server, 2, 100)  # prompts of every length have been met
        before = server.rss_mb()
        report = {**where(), **bench(server, 20, 500)}
        report["limit_ms"] = LIMIT_MS
        for row in report["paths"].values():
            if "p95" in row:
                row["within_limit"] = row["p95"] <= LIMIT_MS
        gauges = server.node.gauges()
        report["triton_left"] = {name: gauges[name] for name in ("active", "waiting")}
        report["triton_aborts"] = gauges["aborts_total"]
        report["rss_mb"] = {"before": before, "after": server.rss_mb()}
        node = server.node
    report["shared_memory_left"] = server.held()
    assert node.running() is None
    print(json.dumps(report, indent=2))
    clean = report["leaks_nothing"] and not any(report["triton_left"].values())
    slow = [name for name, row in report["paths"].items() if row.get("within_limit") is False]
    return 0 if clean and not slow and not report["shared_memory_left"] else 1


if __name__ == "__main__":
    sys.exit(main())
