"""Verbs about what a run learns and reads: `ngram`, `verify-order`, `adapter`, `merge`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError


def add_verbs(verbs: Any) -> None:
    """Add them to the parser of `tabwright train`."""
    verb = verbs.add_parser("ngram", help="what n-gram models of the same tokens are worth",
                            epilog="example: tabwright train ngram --data data/run/shards "
                            "--checkpoint runs/tiny/checkpoints/step-00001600")  # fmt: skip
    verb.add_argument("--data", type=Path, required=True, help="shard folder")
    verb.add_argument("--orders", type=int, nargs="*", default=[3, 5], choices=range(1, 9))
    verb.add_argument("--tokens", type=int, default=10_000_000, help="to learn from (10 million)")
    verb.add_argument("--rows", type=int, default=64, help="held-out rows for the loss (64)")
    verb.add_argument("--context", type=int, default=512, help="ids a row (512)")
    verb.add_argument("--holes", type=int, default=500, help="single-line holes (500)")
    verb.add_argument("--checkpoint", type=Path, nargs="+", default=[],
                      help="checkpoints of runs, on the same questions")  # fmt: skip
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_ngram)

    verb = verbs.add_parser("verify-order", help="was everything read, once and in its place?",
                            epilog="example: tabwright train verify-order --run runs/tiny "
                            "--data data/run/shards")  # fmt: skip
    verb.add_argument("--run", type=Path, required=True, dest="folder", help="folder of the run")
    verb.add_argument("--data", type=Path, required=True, help="its shard folder")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_verify_order)

    verb = verbs.add_parser("adapter", help="write a run's adapter alone, as PEFT does",
                            epilog="example: tabwright train adapter --checkpoint "
                            "runs/web/checkpoints/step-00000400 --out adapters/web")  # fmt: skip
    verb.add_argument("--checkpoint", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_adapter)

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
        holes=args.holes, checkpoints=args.checkpoint,
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


def _verify_order(args: argparse.Namespace) -> int:
    from training.verification import verify_order

    right = True
    for found in verify_order(args.folder, args.data):
        right = right and found.right
        if args.json:
            print(json.dumps({**found._asdict(), "right": found.right}))
        else:
            told = "right" if found.right else f"WRONG, should be {found.expected}"
            print(f"step {found.step}: {found.recorded} {told}")
    return 0 if right else 1


def _adapter(args: argparse.Namespace) -> int:
    from training.adapters import adapter_of_checkpoint, write_adapter

    section, tensors = adapter_of_checkpoint(args.checkpoint)
    if args.out.exists():
        raise ConfigError(f"--out {args.out} exists; give another folder")
    write_adapter(tensors, section, args.out)
    print(json.dumps({"out": str(args.out), "rank": section.rank, "base": section.base}))
    return 0
