"""Judge the same samples with the machine idle and with every core loaded: verdicts must not move.

    python docs/results/drift.py --runs 3 >docs/results/drift.json

Five samples of each HumanEval problem: the solution, three with a mistake put in, and one without
a body. Exit status 1 when a verdict differs. Read `main` first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio

from evalkit.benchmarks.humaneval import HumanEval
from evalkit.mutants import chosen_mutants
from evalkit.passk import decide, judge_references, limits_for
from evalkit.problem import Problem, Sample
from evalkit.session import judging_in

_SPIN = "while True: pass"
Verdicts = dict[tuple[str, int], str]


def main() -> int:
    """Judge in turns, idle and loaded, and compare."""
    parser = argparse.ArgumentParser(description="Look for verdicts that depend on the load.")
    parser.add_argument("--runs", type=int, default=3, help="idle and loaded each (default 3)")
    parser.add_argument("--problems", type=int, help="only so many problems")
    args = parser.parse_args()
    problems = HumanEval().problems("python")[: args.problems]
    runs = []
    seen: list[Verdicts] = []
    for turn in range(2 * args.runs):
        spinners = (os.cpu_count() or 1) * (turn % 2)
        began = time.monotonic()
        with _load(spinners):
            seen.append(anyio.run(_judged, problems))
        seconds = round(time.monotonic() - began, 1)
        runs.append({"spinning": spinners, "seconds": seconds, "load": os.getloadavg()[0]})
        print(runs[-1], Counter(seen[-1].values()), file=sys.stderr)
    drifted = sorted(key for key in seen[0] if len({verdicts[key] for verdicts in seen}) > 1)
    report = {
        "cores": os.cpu_count(),
        "samples": len(seen[0]),
        "outcomes": dict(Counter(seen[0].values())),
        "runs": runs,
        "drifted": [{"sample": key, "verdicts": [v[key] for v in seen]} for key in drifted],
    }
    print(json.dumps(report, indent=2))
    return 1 if drifted else 0


async def _judged(problems: Sequence[Problem]) -> Verdicts:
    """Judge every sample under limits that were calibrated at this load."""
    places = len(os.sched_getaffinity(0))
    verdicts: Verdicts = {}
    async with judging_in("process") as judge:
        references = await judge_references(problems, judge, places, lambda _: None)
        samples = iter([(p, sample) for p in problems for sample in _samples(p)])

        async def one_place() -> None:
            for problem, sample in samples:
                limits = limits_for(references[problem.task_id].cpu_s)
                verdict = await decide(judge, problem, sample, limits)
                verdicts[problem.task_id, sample.index] = verdict.outcome.value

        async with anyio.create_task_group() as tasks:
            for _ in range(places):
                tasks.start_soon(one_place)
    return verdicts


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


if __name__ == "__main__":
    sys.exit(main())
