"""`evalkit estimate`: pass@k of one problem from counts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from evalkit.commands.options import whole_numbers
from evalkit.estimate import pass_at_k


def main(argv: Sequence[str]) -> int:
    """Estimate and print."""
    parser = argparse.ArgumentParser(
        prog="evalkit estimate",
        description="Estimate pass@k of one problem, unbiased, from n judged samples.",
        epilog="Example: evalkit estimate --n 20 --c 5 -k 1,10 --json",
    )
    parser.add_argument("--n", type=int, required=True, help="samples that were judged")
    parser.add_argument("--c", type=int, required=True, help="samples that passed")
    parser.add_argument("-k", type=whole_numbers, default=[1], help="list of k (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    values = {k: pass_at_k(args.n, args.c, k) for k in args.k}
    if args.json:
        passes = {str(k): value for k, value in values.items()}
        print(json.dumps({"n": args.n, "c": args.c, "pass_at_k": passes}))
    else:
        for k, value in values.items():
            print(f"pass@{k}  {value:.6f}")
    return 0
