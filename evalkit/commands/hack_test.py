"""`evalkit hack-test`: completions that solve nothing and try to pass; none may."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from evalkit.commands.options import add_sandbox, check_jobs
from evalkit.executors import judging
from evalkit.hacking import Attempt, attack, hacks, targets
from evalkit.progress import Progress


def main(argv: Sequence[str]) -> int:
    """Run them; 1 if one was accepted, or a right solution was not."""
    parser = argparse.ArgumentParser(
        prog="evalkit hack-test",
        description="Attack the judge with completions that solve nothing and try to pass.",
        epilog="Example: evalkit hack-test --lang python",
    )
    parser.add_argument("--lang", default="python", help="languages, comma-separated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_sandbox(parser)
    args = parser.parse_args(argv)
    report: dict[str, dict[str, Any]] = {}
    for language in args.lang.split(","):
        attempts = anyio.run(_attack, args, language)
        report[language] = {
            "hacks": len({attempt.hack for attempt in attempts if attempt.hack}),
            "outcomes": dict(sorted(Counter(a.outcome.value for a in attempts if a.hack).items())),
            "not_as_it_should_be": [
                {"hack": a.hack, "task_id": a.task_id, "outcome": a.outcome, "detail": a.detail}
                for a in attempts
                if not a.as_it_should_be
            ],
        }
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for language, row in report.items():
            outcomes = ", ".join(f"{n} {name}" for name, n in row["outcomes"].items())
            wrong = row["not_as_it_should_be"]
            print(f"{language}: {row['hacks']} hacks, {len(wrong)} amiss ({outcomes})")
            for attempt in wrong:
                print(f"  {attempt['hack'] or 'the solution'} of {attempt['task_id']}: "
                      f"{attempt['outcome']} {attempt['detail']}")  # fmt: skip
    return 0 if not any(row["not_as_it_should_be"] for row in report.values()) else 1


async def _attack(args: argparse.Namespace, language: str) -> list[Attempt]:
    total = (1 + len(hacks(language))) * len(targets(language))
    with Progress(f"{language}: hacks", total) as bar:
        async with judging(args.executor, args.sandbox, check_jobs(args.jobs)) as judge:
            return await attack(judge, language, check_jobs(args.jobs), bar.seen)
