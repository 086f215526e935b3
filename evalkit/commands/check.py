"""`evalkit check`: every reference of a benchmark must pass, or the harness is what is broken."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from evalkit.commands.options import add_benchmark, add_sandbox, check_jobs, chosen_languages
from evalkit.passk import judge_references
from evalkit.problem import Outcome, Verdict
from evalkit.progress import Progress
from evalkit.registry import load_benchmark
from evalkit.session import judging_in


def main(argv: Sequence[str]) -> int:
    """Run the references; 1 if one did not pass."""
    parser = argparse.ArgumentParser(
        prog="evalkit check",
        description="Run the reference solutions of a benchmark; all must pass.",
        epilog="Example: evalkit check --benchmark humaneval --lang python",
    )
    add_benchmark(parser)
    add_sandbox(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    report = anyio.run(_check, args)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for language, row in report["languages"].items():
            outcomes = ", ".join(f"{count} {name}" for name, count in row["outcomes"].items())
            print(f"{language}: {row['passed']} of {row['references']} references pass: {outcomes}")
            for failure in row["failures"]:
                print(f"  {failure['task_id']}: {failure['outcome']}; {failure['detail']}")
    return 0 if all(not row["failures"] for row in report["languages"].values()) else 1


async def _check(args: argparse.Namespace) -> dict[str, Any]:
    benchmark = load_benchmark(args.benchmark, args.path)
    languages = chosen_languages(args.lang, benchmark)
    report: dict[str, Any] = {"benchmark": benchmark.name, "languages": {}}
    async with judging_in(args.sandbox) as judge:
        for language in languages:
            problems = benchmark.problems(language)
            with Progress(language, len(problems)) as bar:
                places = check_jobs(args.jobs)
                verdicts = await judge_references(problems, judge, places, bar.seen)
            report["languages"][language] = _row(list(verdicts.values()))
    return report


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
