"""Run a command to its end, or kill it at random points, and say what it and its children took.

Memory is summed over the tree of processes, twice a second: `rss_mb` counts a page once for every
process that maps it, `pss_mb` shares it among them. Read `measured`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

_EVERY_S = 0.5


def measured(command: list[str], log: Path) -> dict[str, Any]:
    """Run the command, its output in `log`; stops this program if it fails."""
    began = time.monotonic()
    cpu: dict[int, float] = {}
    peaks = {"rss_mb": 0.0, "pss_mb": 0.0, "largest_mb": 0.0}
    with log.open("w") as out, (log.with_suffix(".err")).open("w") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        while process.poll() is None:
            _look(process.pid, cpu, peaks)
            time.sleep(_EVERY_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {log.with_suffix('.err').read_text()[-2000:]}")
    wall = round(time.monotonic() - began, 1)
    return {"wall_s": wall, "cpu_s": round(sum(cpu.values()), 1)} | {
        name: round(value) for name, value in peaks.items()
    }


def _look(pid: int, cpu: dict[int, float], peaks: dict[str, float]) -> None:
    """Take the sums over the tree; processor time is the last that was seen of each process."""
    rss: list[float] = []
    pss: list[float] = []
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return
    for process in tree:
        try:
            times, memory = process.cpu_times(), process.memory_full_info()
        except psutil.Error:
            continue
        cpu[process.pid] = times.user + times.system
        rss.append(memory.rss / 1e6)
        pss.append(memory.pss / 1e6)
    for name, value in (
        ("rss_mb", sum(rss)),
        ("pss_mb", sum(pss)),
        ("largest_mb", max(rss or [0])),
    ):
        peaks[name] = max(peaks[name], value)


def kill_at_random(command: list[str], kills: int, within_s: float) -> list[float]:
    """Start the command again and again and kill it, with its children; says after how long.

    A start that ended by itself before its time is not counted.
    """
    draw = random.Random(kills)
    killed = []
    for after in (round(draw.uniform(2, within_s), 1) for _ in range(kills)):
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed.append(after)
    return killed
