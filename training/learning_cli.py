"""Verbs about what a run learns and reads: `ngram`, `adapter`, `merge`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def add_verbs(verbs: Any) -> None:
    """Add them to the parser of `tabwright train`."""
    verb = verbs.add_parser("ngram", help="what n-gram models of the same tokens are worth",
                            epilog="example: tabwright train ngram --data data/run/shards "
                            "--checkpoint runs/tiny/checkpoints/step-00001600")  # fmt: skip
    verb.add_argument("--data", type=Path, required=True, help="shard folder")
    verb.add_argument("--orders", type=int, nargs="+", default=[3, 5], choices=range(1, 9))
    verb.add_argument("--tokens", type=int, default=10_000_000, help="to learn from (10 million)")
    verb.add_argument("--rows", type=int, default=64, help="held-out rows for the loss (64)")
    verb.add_argument("--context", type=int, default=512, help="ids a row (512)")
    verb.add_argument("--holes", type=int, default=500, help="single-line holes (500)")
    verb.add_argument("--checkpoint", type=Path, help="a run's checkpoint, on the same questions")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_ngram)

    verb = verbs.add_parser("merge", help="put an adapter into its base model",
                            epilog="example: tabwright train merge --base base/model "
                            "--adapter adapters/mine --out merged/model")  # fmt: skip
    verb.add_argument("--base", type=Path, required=True, help="Hugging Face folder")
    verb.add_argument("--adapter", type=Path, required=True, help="PEFT folder")
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_merge)


def _ngram(args: argparse.Namespace) -> int:
    from training.baseline import compare

    found = compare(
        args.data, args.orders, args.tokens, rows=args.rows, context=args.context,
        holes=args.holes, checkpoint=args.checkpoint,
    )  # fmt: skip
    if not args.json:
        print(f"{'model':<28} {'nats/token':>10} {'exact match':>12}")
    for worth in found:
        if args.json:
            print(json.dumps(worth.row()), flush=True)
        else:
            line = f"{worth.model:<28} {worth.held_out_loss:>10.4f} {worth.exact_match:>12.1%}"
            print(line, flush=True)
            print(f"{worth.tokens:,} tokens, {worth.holes} holes", file=sys.stderr)
    return 0


def _merge(args: argparse.Namespace) -> int:
    from training.merging import merge

    told = merge(args.base, args.adapter, args.out)
    print(json.dumps({"out": str(args.out), **asdict(told)}))
    return 0
