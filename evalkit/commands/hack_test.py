"""`evalkit hack-test`: completions that solve nothing and try to pass; none may."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from evalkit.canary_judge import CanaryJudge
from evalkit.commands.options import add_sandbox, check_jobs
from evalkit.executors import judging
from evalkit.hacking import Attempt, attack, hacked_languages, hacks, pairs
from evalkit.problem import Outcome
from evalkit.progress import Progress
from evalkit.session import open_sandbox
from evalkit.toolchains import lacks
from tabwright.errors import InvalidRequest


def main(argv: Sequence[str]) -> int:
    """Run them; 1 if one was accepted or did not work, or a right solution was not accepted."""
    parser = argparse.ArgumentParser(
        prog="evalkit hack-test",
        description="Attack the judge with completions that solve nothing and try to pass. "
        "With --lang all, a language whose toolchain is missing is named and passed over.",
        epilog="Example: evalkit hack-test --lang python,go",
    )
    parser.add_argument("--lang", default="python", help="languages, comma-separated, or all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_sandbox(parser)
    args = parser.parse_args(argv)
    report = anyio.run(_attack_all, args)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for language, why in report["skipped"].items():
            print(f"{language}: not run; {why}")
        for language, row in report["languages"].items():
            print(f"{language}: {_line(row)}")
            for attempt in row["not_as_it_should_be"]:
                print(f"  {attempt['hack'] or 'the solution'} of {attempt['task_id']}: "
                      f"{attempt['outcome']} {attempt['detail']}")  # fmt: skip
        print(f"all: {_line(report)}")
    return 0 if not any(row["not_as_it_should_be"] for row in report["languages"].values()) else 1


async def _attack_all(args: argparse.Namespace) -> dict[str, Any]:
    languages, skipped = _chosen(args.lang)
    rows: dict[str, dict[str, Any]] = {}
    places = check_jobs(args.jobs)
    async with (
        judging(args.executor, args.sandbox, places) as judge,
        open_sandbox(args.sandbox) as sandbox,
    ):
        programs = CanaryJudge(sandbox)
        for language in languages:
            with Progress(f"{language}: hacks", len(pairs(language))) as bar:
                attempts = await attack(judge, language, places, bar.seen, programs)
            rows[language] = _row(attempts)
    outcomes: Counter[str] = Counter()
    for row in rows.values():
        outcomes.update(row["outcomes"])
    sums = {key: sum(row[key] for row in rows.values()) for key in _COUNTS}
    return {**sums, "outcomes": dict(outcomes), "skipped": skipped, "languages": rows}


def _chosen(text: str) -> tuple[list[str], dict[str, str]]:
    if text != "all":
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        if not chosen:
            raise InvalidRequest("lang", text, "name a language, or all")
        for name in chosen:
            hacks(name)
        return chosen, {}
    skipped = {name: why for name in hacked_languages() if (why := lacks(name))}
    return [name for name in hacked_languages() if name not in skipped], skipped


_COUNTS = ("hacks", "attempts", "accepted", "tested", "accepted_by_exit", "accepted_by_nonce")


def _row(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The counts of one language. tested: hacks that were run with a test program."""
    tried = [attempt for attempt in attempts if attempt.hack]
    tested = [attempt for attempt in tried if attempt.by_tests]
    return {
        "hacks": len({attempt.hack for attempt in tried}),
        "attempts": len(tried),
        "accepted": sum(attempt.outcome is Outcome.PASSED for attempt in tried),
        "tested": len(tested),
        "accepted_by_exit": sum(attempt.left_with_0 for attempt in tested),
        "accepted_by_nonce": sum(attempt.told_nonce for attempt in tested),
        "outcomes": dict(sorted(Counter(attempt.outcome.value for attempt in tried).items())),
        "not_as_it_should_be": [
            {
                "hack": attempt.hack,
                "task_id": attempt.task_id,
                "outcome": attempt.outcome,
                "detail": attempt.detail if attempt.works else "it did not do what it claims",
            }
            for attempt in attempts
            if not attempt.as_it_should_be
        ],
    }


def _line(row: dict[str, Any]) -> str:
    outcomes = ", ".join(f"{count} {name}" for name, count in row["outcomes"].items())
    weaker = (
        f"; of {row['tested']} run with a test program the exit status accepts "
        f"{row['accepted_by_exit']}, a nonce besides {row['accepted_by_nonce']}"
        if row["tested"]
        else ""
    )
    return f"{row['hacks']} hacks, {row['accepted']} accepted ({outcomes}){weaker}"
