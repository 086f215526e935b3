"""`tabwright train data`: make shards of raw code, and ask about them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from training.data.engine import ENGINES, Progress, load_engine


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `tabwright train data` its verbs."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("run", help="raw code to shards; goes on where a killed run was",
                            epilog="example: tabwright train data run --config data.toml "
                            "--out data/run --engine local")  # fmt: skip
    verb.add_argument("--config", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--engine", default="local", help=f"one of {', '.join(ENGINES)}")
    verb.add_argument("--master", default="", help="Spark's: local[2], spark://host:7077, ...")
    verb.add_argument("--workers", type=int, default=0, help="processes; 0: all cores")
    verb.add_argument("--json", action="store_true", help="the manifest instead of a summary")
    verb.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from training.data.config import read_config
    from training.data.pipeline import build
    from training.data.run import open_run

    run = open_run(args.out, read_config(args.config))
    opener = load_engine(args.engine)
    with opener(master=args.master, workers=args.workers, progress=_show) as engine:
        manifest = build(engine, run)
    if args.json:
        print(json.dumps(manifest))
    else:
        for split, counts in manifest["splits"].items():
            print(f"{split}: {counts['documents']:,} documents, {counts['tokens']:,} tokens")
        print(f"{args.out / 'shards'}: digest {manifest['digest']}")
    return 0


def _show(progress: Progress) -> None:
    end = "\n" if progress.done == progress.total else ""
    print(f"\r{progress.step:>10} {progress.done}/{progress.total} parts", end=end,
          file=sys.stderr, flush=True)  # fmt: skip
