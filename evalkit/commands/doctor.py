"""`evalkit doctor`: whether programs are isolated on this machine, tried with hostile ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import anyio

from evalkit.benchmarks.web import LANGUAGE
from evalkit.runtimes import load_runtime, runtime_names
from evalkit.sandbox import SANDBOXES
from evalkit.sandbox.checks import CheckResult, run_checks
from evalkit.session import open_sandbox
from evalkit.toolchains import missing_programs
from evalkit.web_checks import page_checks


def main(argv: Sequence[str]) -> int:
    """Attack the sandbox from inside; 1 if anything got out."""
    parser = argparse.ArgumentParser(
        prog="evalkit doctor",
        description="Run hostile programs in the sandbox and look whether anything gets out.",
        epilog="Example: evalkit doctor --sandbox process --json",
    )
    parser.add_argument("--sandbox", choices=tuple(SANDBOXES), default="process")
    parser.add_argument("--only", help="names of probes, comma-separated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    only = args.only.split(",") if args.only else []
    results = anyio.run(_checks, args.sandbox, only)
    held = bool(results) and all(result.contained for result in results)
    languages = {name: not missing_programs(load_runtime(name)) for name in runtime_names()}
    if args.json:
        report = {
            "sandbox": args.sandbox,
            "contained": held,
            "checks": [asdict(result) for result in results],
            "languages": languages,
        }
        print(json.dumps(report, indent=2))
        return 0 if held else 1
    for result in results:
        print(f"{'held' if result.contained else 'HOLE':<6}{result.name}: {result.finding}")
    print(f"{sum(r.contained for r in results)} of {len(results)} checks held")
    print("languages: " + ", ".join(name for name, there in languages.items() if there))
    if missing := [name for name, there in languages.items() if not there]:
        print("not installed (evalkit toolchains install --lang …): " + ", ".join(missing))
    return 0 if held else 1


async def _checks(name: str, only: Sequence[str]) -> list[CheckResult]:
    def seen(result: CheckResult) -> None:
        print(f"{result.name}: {'held' if result.contained else 'HOLE'}", file=sys.stderr)

    async with open_sandbox(name) as sandbox:
        results = await run_checks(sandbox, seen, only)
        if not only and not missing_programs(load_runtime(LANGUAGE)):
            results += await page_checks(sandbox, seen)
        return results
