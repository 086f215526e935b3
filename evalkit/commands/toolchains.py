"""`evalkit toolchains`: which languages can be compiled and run here, and how to get the others."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from evalkit.runtimes import load_runtime, runtime_names
from evalkit.toolchains import (
    ToolchainMissing,
    chosen,
    install_commands,
    missing_programs,
    status,
)


def main(argv: Sequence[str]) -> int:
    """List toolchains, or install them."""
    parser = argparse.ArgumentParser(
        prog="evalkit toolchains",
        description="Which languages can be compiled and run on this machine.",
        epilog="Example: evalkit toolchains install --lang go,ruby",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|install")
    listing = verbs.add_parser(
        "list",
        help="what is there, in which version",
        epilog="Example: evalkit toolchains list --json",
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    installing = verbs.add_parser(
        "install",
        help="get what is missing, from Debian and npm",
        epilog="Example: evalkit toolchains install --lang go,ruby --dry-run",
    )
    installing.add_argument("--lang", required=True, help="languages, comma-separated, or all")
    installing.add_argument("--dry-run", action="store_true", help="only print the commands")
    installing.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    return _list(args.json) if args.verb == "list" else _install(args.lang, args.dry_run, args.json)


def _list(as_json: bool) -> int:
    with ThreadPoolExecutor() as threads:  # some compilers take seconds to say their version
        rows = list(threads.map(status, map(load_runtime, runtime_names())))
    if as_json:
        report = {
            row.language: {
                "installed": row.installed,
                "version": row.version,
                "missing": list(row.missing),
            }
            for row in rows
        }
        print(json.dumps(report, indent=2))
        return 0
    for row in rows:
        state = row.version if row.installed else f"missing: {', '.join(row.missing)}"
        print(f"{row.language:<14}{state}")
    return 0


def _install(text: str, dry_run: bool, as_json: bool) -> int:
    runtimes = chosen(text)
    commands = install_commands(runtimes)
    if not commands:
        print("all there already", file=sys.stderr)
    for command in commands:
        print(shlex.join(command), file=sys.stderr if as_json else sys.stdout, flush=True)
        if dry_run:
            continue
        out = sys.stderr if as_json else None
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, check=False)
        code = done.returncode
        if code:
            raise ToolchainMissing(f"{shlex.join(command)} ended with {code}; see what it said")
    lacking = {} if dry_run else {r.name: m for r in runtimes if (m := missing_programs(r))}
    if lacking:
        names = "; ".join(f"{name}: {', '.join(missing)}" for name, missing in lacking.items())
        raise ToolchainMissing(f"still not there after installing: {names}")
    if as_json:
        print(json.dumps({"commands": commands, "ran": not dry_run}, indent=2))
    return 0
