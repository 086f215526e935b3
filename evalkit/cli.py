"""The `evalkit` command. Exit codes are those of `tabwright`. Read `main` first."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from evalkit.estimate import pass_at_k
from tabwright import __version__
from tabwright.cli import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code."""
    return run_command("evalkit", lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    values = {k: pass_at_k(args.n, args.c, k) for k in args.k}
    if args.json:
        passes = {str(k): value for k, value in values.items()}
        print(json.dumps({"n": args.n, "c": args.c, "pass_at_k": passes}))
    else:
        for k, value in values.items():
            print(f"pass@{k}  {value:.6f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    example = "Example: evalkit estimate --n 20 --c 5 -k 1,10 --json"
    parser = argparse.ArgumentParser(
        prog="evalkit",
        description="Pass@k that can be trusted.",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"evalkit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    estimate = commands.add_parser(
        "estimate",
        help="estimate pass@k of one problem from counts",
        description="Estimate pass@k of one problem, unbiased, from n judged samples.",
        epilog=example,
    )
    estimate.add_argument("--n", type=int, required=True, help="samples that were judged")
    estimate.add_argument("--c", type=int, required=True, help="samples that passed")
    estimate.add_argument("-k", type=_whole_numbers, default=[1], help="list of k (default 1)")
    estimate.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]
