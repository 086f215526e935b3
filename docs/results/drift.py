"""Judge the same samples with the machine idle and with every core loaded: verdicts must not move.

    python docs/results/drift.py --runs 3 >docs/results/drift.json

Five samples of each HumanEval problem: the solution, three with a mistake put in, and one without
a body. Exit status 1 when a verdict differs. A limit of processor time is a line, and a busy
machine's caches move programs towards it: `nearest` says how close any came that kept within it.
Read `main` first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio

from evalkit.benchmarks.humaneval import HumanEval
from evalkit.mutants import chosen_mutants
from evalkit.passk import decide, judge_references, limits_for
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.session import judging_in

_SPIN = "while True: pass"


@dataclass(slots=True)
class _Turn:
    """One turn. nearest: the largest share of its limit that a sample used without reaching it."""

    verdicts: dict[tuple[str, int], str] = field(default_factory=dict)
    nearest: float = 0.0

    def add(self, verdict: Verdict, limit_s: float) -> None:
        """Take one verdict down."""
        self.verdicts[verdict.task_id, verdict.index] = verdict.outcome.value
        if verdict.outcome is not Outcome.CPU_TIME:
            self.nearest = max(self.nearest, round(verdict.cpu_s / limit_s, 3))


def main() -> int:
    """Judge in turns, idle and loaded, and compare."""
    parser = argparse.ArgumentParser(description="Look for verdicts that depend on the load.")
    parser.add_argument("--runs", type=int, default=3, help="idle and loaded each (default 3)")
    parser.add_argument("--problems", type=int, help="only so many problems")
    args = parser.parse_args()
    problems = HumanEval().problems("python")[: args.problems]
    runs = []
    seen: list[dict[tuple[str, int], str]] = []
    for turn in range(2 * args.runs):
        spinners = (os.cpu_count() or 1) * (turn % 2)
        began = time.monotonic()
        with _load(spinners):
            judged = anyio.run(_judged, problems)
        seen.append(judged.verdicts)
        runs.append(
            {
                "spinning": spinners,
                "seconds": round(time.monotonic() - began, 1),
                "load": round(os.getloadavg()[0], 2),
                "nearest": judged.nearest,
            }
        )
        print(runs[-1], Counter(seen[-1].values()), file=sys.stderr)
    drifted = sorted(key for key in seen[0] if len({verdicts[key] for verdicts in seen}) > 1)
    report = {
        "where": _where(),
        "command": " ".join(["python", "docs/results/drift.py", *sys.argv[1:]]),
        "samples": len(seen[0]),
        "outcomes": dict(Counter(seen[0].values())),
        "runs": runs,
        "drifted": [{"sample": key, "verdicts": [v[key] for v in seen]} for key in drifted],
    }
    print(json.dumps(report, indent=2))
    return 1 if drifted else 0


async def _judged(problems: Sequence[Problem]) -> _Turn:
    """Judge every sample under limits that were calibrated at this load."""
    places = len(os.sched_getaffinity(0))
    turn = _Turn()
    async with judging_in("process") as judge:
        references = await judge_references(problems, judge, places, lambda _: None)
        samples = iter([(p, sample) for p in problems for sample in _samples(p)])

        async def one_place() -> None:
            for problem, sample in samples:
                limits = limits_for(references[problem.task_id].cpu_s)
                turn.add(await decide(judge, problem, sample, limits), limits.cpu_s)

        async with anyio.create_task_group() as tasks:
            for _ in range(places):
                tasks.start_soon(one_place)
    return turn


def _samples(problem: Problem) -> Iterator[Sample]:
    mutants = [mutant.completion for mutant in chosen_mutants("humaneval", problem)]
    for index, text in enumerate([problem.reference or "", *mutants, "    pass\n"]):
        yield Sample(problem.task_id, index, text)


@contextmanager
def _load(spinners: int) -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(spinners)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _where() -> dict[str, Any]:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    words = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
    }


if __name__ == "__main__":
    sys.exit(main())
