"""Say which of evalkit's processes the processor time of a judged sample goes to.

    python docs/results/costs.py --samples 3

Of HumanEval's own solutions or, with `--lang`, of the references of `core`; by control groups of
version 1 and the kernel's count of each process. Needs root. Read `main` first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.results.meter import metered
from evalkit.benchmarks.core import Core
from evalkit.benchmarks.humaneval import HumanEval
from evalkit.passk import decide, judge_references, limits_for
from evalkit.problem import Problem, Sample
from evalkit.session import judging_in


def main() -> None:
    """Judge in a group of our own, and print milliseconds a sample."""
    parser = argparse.ArgumentParser(description="Tell whose the processor time is.")
    parser.add_argument("--samples", type=int, default=3, help="of each problem (default 3)")
    parser.add_argument("--lang", default="python", help="of others the references of `core`")
    args = parser.parse_args()
    benchmark = HumanEval() if args.lang == "python" else Core()
    problems = benchmark.problems(args.lang)
    with metered() as used_s:
        report = anyio.run(_costs, problems, used_s, args.samples)
    print(json.dumps(report, indent=2))


async def _costs(
    problems: Sequence[Problem], used_s: Callable[[], float], each: int
) -> dict[str, float]:
    seconds: list[float] = []
    rows = iter([(problem, index) for problem in problems for index in range(each)])
    async with judging_in("process") as judge:
        # Twice, so that everything is there that stays.
        for _ in range(2):
            await judge_references(problems, judge, 2, lambda _: None)

        async def one_place(rows: Iterator[tuple[Problem, int]]) -> None:
            for problem, index in rows:
                # Another text each time: what was compiled before would not be compiled again.
                sample = Sample(problem.task_id, index, (problem.reference or "") + " " * index)
                seconds.append((await decide(judge, problem, sample, limits_for(None))).cpu_s)

        before, began = _used(used_s), time.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(one_place, rows)
        after, passed_s = _used(used_s), time.monotonic() - began
    number = len(seconds)
    used = {name: round(1000 * (after[name] - before[name]) / number, 2) for name in after}
    program = round(1000 * sum(seconds) / number, 2)
    rest = round(used["all"] - program - sum(used[n] for n in used if n != "all"), 2)
    return {
        **used,
        "sandboxes of candidates": program,
        "all else: checkers, first processes, what came before a group was entered": rest,
        "samples": number,
        "per_second": round(number / passed_s, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def _used(used_s: Callable[[], float]) -> dict[str, float]:
    wardens = _children(os.getpid())
    # A sandbox's first process may be one of these too; a forker has no descendants.
    forkers = [pid for warden in wardens for pid in _children(warden)[:1]]
    return {
        "all": used_s(),
        "evalkit": _process_s(os.getpid()),
        "wardens": sum(map(_process_s, wardens)),
        "forkers": sum(map(_process_s, forkers)),
    }


def _children(pid: int) -> list[int]:
    """Children of all threads, the oldest first."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    words = [word for task in tasks for word in (task / "children").read_text().split()]
    return sorted(int(word) for word in words)


def _process_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


if __name__ == "__main__":
    main()
