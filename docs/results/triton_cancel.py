"""Measure cancelling through the gateway and a real Triton; print JSON.

The six paths and 500 random cancels are those of `tabwright cancel-bench`; then Triton itself is
asked what is left: its gauges, its memory after a first and after a last run, its shared memory
when it has ended. Exit code 1 where something is left or grows, a path was not met, or a path's
p95 is above 50 ms.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from docs.results.triton_node import Measured, measured, where

ROUNDS, CANCELS = 25, 500
LIMIT_MS = 50.0
GROWTH_MB = 16.0  # of a process of 400, by paths and 500 cancels; a next 500 add below 1
SETTLE_S = 5.0  # gauges are told after the last response
BOUND_S = 400


def bench(server: Measured, rounds: int, cancels: int) -> dict[str, Any]:
    """One run of the command."""
    command = [
        *(sys.executable, "-m", "tabwright", "cancel-bench", "--engine", "triton", "--json"),
        *("--triton-url", server.url, "--rounds", str(rounds), "--cancels", str(cancels)),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, complained = process.communicate(timeout=BOUND_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # with its nginx
        process.wait()
        raise
    if not said:
        raise SystemExit(complained[-2000:])
    told: dict[str, Any] = json.loads(said)
    return told


def left_in_triton(server: Measured) -> dict[str, float]:
    """What its gauges say runs, after a while if not at once."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        gauges = server.node.gauges()
        left = {name: gauges[name] for name in ("active", "waiting")}
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def main() -> int:
    """Measure and print."""
    with measured() as server:
        bench(server, 2, 100)  # prompts of every length have been met
        before = server.rss_mb()
        report = {**where(), **bench(server, ROUNDS, CANCELS)}
        report["limit_ms"] = LIMIT_MS
        for row in report["paths"].values():
            row["within_limit"] = row.get("p95", LIMIT_MS + 1) <= LIMIT_MS
        report["triton_left"] = left_in_triton(server)
        report["triton_aborts"] = server.node.gauges()["aborts_total"]
        after = server.rss_mb()
        report["rss_mb"] = {"before": before, "after": after}
        node = server.node
    report["shared_memory_left"] = server.held()
    assert node.running() is None
    print(json.dumps(report, indent=2))
    clean = report["leaks_nothing"] and not any(report["triton_left"].values())
    flat = all(after[name] - before[name] <= GROWTH_MB for name in after)
    fast = all(row["within_limit"] for row in report["paths"].values())
    return 0 if clean and flat and fast and not report["shared_memory_left"] else 1


if __name__ == "__main__":
    sys.exit(main())
