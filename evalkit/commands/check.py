"""`evalkit check`: every reference of a benchmark must pass, or the harness is what is broken.

With `--mutants`, references with a mistake put in must fail, or the tests are what is broken.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from evalkit.commands.options import add_benchmark, add_sandbox, check_jobs, chosen_languages
from evalkit.executors import judging
from evalkit.hub import local_path
from evalkit.mutants import COUNT, chosen_mutants, judge_mutants
from evalkit.passk import judge_references, limits_for
from evalkit.problem import Judge, Outcome, Problem, Verdict
from evalkit.progress import Progress
from evalkit.registry import load_benchmark
from evalkit.score import totals
from evalkit.toolchains import lacks
from tabwright.errors import InvalidRequest


def main(argv: Sequence[str]) -> int:
    """Run the references; 1 if one did not pass, or a mutant did."""
    parser = argparse.ArgumentParser(
        prog="evalkit check",
        description="Run the reference solutions of a benchmark; all must pass. "
        "With --lang all, a language whose toolchain is missing is named and passed over.",
        epilog="Example: evalkit check --benchmark humaneval --lang python --mutants",
    )
    add_benchmark(parser)
    add_sandbox(parser)
    parser.add_argument(
        "--mutants", action="store_true", help=f"also {COUNT} wrong references a problem: all fail"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    report = anyio.run(_check, args)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for language, why in report["skipped"].items():
            print(f"{language}: not run; {why}")
        for language, row in report["languages"].items():
            outcomes = ", ".join(f"{count} {name}" for name, count in row["outcomes"].items())
            print(f"{language}: {row['passed']} of {row['references']} references pass: {outcomes}")
            for failure in row["failures"]:
                print(f"  {failure['task_id']}: {failure['outcome']}; {failure['detail']}")
            if args.mutants:
                mutants = row["mutants"]
                print(f"{language}: {mutants['failed']} of {mutants['run']} mutants fail")
                for fault in mutants["faults"]:
                    print(f"  {fault['task_id']}: {fault['mutant']}; {fault['outcome']}")
    return 0 if all(_good(row) for row in report["languages"].values()) else 1


def _good(row: dict[str, Any]) -> bool:
    return not row["failures"] and not row.get("mutants", {}).get("faults")


async def _check(args: argparse.Namespace) -> dict[str, Any]:
    benchmark = load_benchmark(args.benchmark, local_path(args.path))
    languages = chosen_languages(args.lang, benchmark)
    places = check_jobs(args.jobs)
    for language in languages:
        if not any(problem.reference for problem in benchmark.problems(language)):
            fix = f"{benchmark.name} has no references in it, so there is nothing to run"
            raise InvalidRequest("lang", language, fix)
    skipped = {name: why for name in languages if args.lang == "all" and (why := lacks(name))}
    report: dict[str, Any] = {"benchmark": benchmark.name, "skipped": skipped, "languages": {}}
    async with judging(args.executor, args.sandbox, places) as judge:
        for language in (name for name in languages if name not in skipped):
            problems = benchmark.problems(language)
            with Progress(language, len(problems)) as bar:
                verdicts = await judge_references(problems, judge, places, bar.seen)
            row = report["languages"][language] = _row(list(verdicts.values()))
            if args.mutants:
                row["mutants"] = await _mutants(benchmark.name, problems, verdicts, judge, places)
    return report | totals(report["languages"].values())


async def _mutants(
    benchmark: str,
    problems: Sequence[Problem],
    references: Mapping[str, Verdict],
    judge: Judge,
    places: int,
) -> dict[str, Any]:
    chosen = {p.task_id: chosen_mutants(benchmark, p) for p in problems if p.task_id in references}
    limits = {task_id: limits_for(verdict.cpu_s) for task_id, verdict in references.items()}
    with Progress("mutants", sum(map(len, chosen.values()))) as bar:
        judged = await judge_mutants(problems, chosen, judge, limits, places, bar.seen)
    outcomes = Counter(verdict.outcome for _, verdict in judged)
    faults = [
        {"task_id": verdict.task_id, "mutant": mutant.label, "outcome": verdict.outcome.value}
        for mutant, verdict in judged
        if verdict.outcome in (Outcome.PASSED, Outcome.UNJUDGED)
    ]
    faults += [
        {"task_id": task_id, "mutant": "", "outcome": f"has {len(mutants)} of {COUNT} mutants"}
        for task_id, mutants in chosen.items()
        if len(mutants) < COUNT
    ]
    return {
        "run": len(judged),
        "failed": len(judged) - outcomes[Outcome.PASSED] - outcomes[Outcome.UNJUDGED],
        "outcomes": {outcome.value: count for outcome, count in sorted(outcomes.items())},
        "faults": sorted(faults, key=lambda fault: (fault["task_id"], fault["mutant"])),
    }


def _row(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    return {
        "references": len(verdicts),
        "passed": outcomes[Outcome.PASSED],
        "failed": len(verdicts) - outcomes[Outcome.PASSED] - outcomes[Outcome.UNJUDGED],
        "unjudged": outcomes[Outcome.UNJUDGED],
        "outcomes": {outcome.value: count for outcome, count in sorted(outcomes.items())},
        "failures": [
            {"task_id": v.task_id, "outcome": v.outcome.value, "detail": v.detail}
            for v in verdicts
            if v.outcome is not Outcome.PASSED
        ],
    }
