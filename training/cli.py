"""`tabwright train`: the verbs from raw code to an artifact, in the order of their use."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from itertools import takewhile
from pathlib import Path

from tabwright.errors import ConfigError, MissingExtra
from training.config import load_config

_TOKENIZER_CHARACTERS = 40_000_000


def main(argv: list[str]) -> int:
    """Run one verb; errors of the tree pass to the caller.

    Raises:
        MissingExtra: numpy, torch or transformers is not installed.
    """
    args = _parser().parse_args(argv)
    try:
        result: int = args.run(args)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("training", "tabwright"):
            raise
        raise MissingExtra(str(error.name), "train") from error
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright train",
        description="Train a completion model: tokenizer, shards, run, export.",
        epilog="example: tabwright train run --config tiny --data data/shards --out runs/tiny",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("tokenizer", help="learn a byte-level BPE from raw code",
                            epilog="example: tabwright train tokenizer --sources sources.toml "
                            "--out data/tokenizer.json")  # fmt: skip
    verb.add_argument("--sources", type=Path, required=True)
    verb.add_argument("--vocab-size", type=int, default=8192)
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_tokenizer)

    verb = verbs.add_parser("shards", help="filter, deduplicate and tokenise raw code",
                            epilog="example: tabwright train shards --sources sources.toml "
                            "--tokenizer data/tokenizer.json --out data/shards")  # fmt: skip
    verb.add_argument("--sources", type=Path, required=True)
    verb.add_argument("--tokenizer", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_shards)

    verb = verbs.add_parser("run", help="print the torchrun line and become it",
                            epilog="example: tabwright train run --config tiny --data data/shards "
                            "--out runs/tiny --nproc 2 --set schedule.steps=200")  # fmt: skip
    verb.add_argument("--config", default="tiny")
    verb.add_argument("--data", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--init-from", type=Path)
    verb.add_argument("--nproc", type=int, default=1, help="processes on this machine")
    verb.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    verb.set_defaults(run=_run)

    verb = verbs.add_parser("export", help="publish a checkpoint as an artifact",
                            epilog="example: tabwright train export --checkpoint "
                            "runs/tiny/checkpoints/step-00001600 --data data/shards "
                            "--out artifacts/mine --name mine")  # fmt: skip
    verb.add_argument("--checkpoint", type=Path, required=True)
    verb.add_argument("--data", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--name", required=True, help="the model id that clients see")
    verb.set_defaults(run=_export)

    verb = verbs.add_parser("holes", help="cut single-line holes out of held-out files",
                            epilog="example: tabwright train holes --data data/shards "
                            "--count 500 --out data/holes.jsonl")  # fmt: skip
    verb.add_argument("--data", type=Path, required=True)
    verb.add_argument("--count", type=int, default=500)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_holes)
    return parser


def _tokenizer(args: argparse.Namespace) -> int:
    from training.data.shards import TRAIN, Ledger, keep
    from training.data.sources import read_sources
    from training.tokenizer import train_tokenizer

    if args.vocab_size < 512:
        raise ConfigError(f"--vocab-size {args.vocab_size}: 256 bytes and the sentinels need 512")
    texts = [d.text for split, d in keep(read_sources(args.sources), Ledger()) if split == TRAIN]
    random.Random(0).shuffle(texts)
    left = _TOKENIZER_CHARACTERS

    def room(text: str) -> bool:
        nonlocal left
        had, left = left, left - len(text)
        return had > 0

    sample = list(takewhile(room, texts))
    train_tokenizer(sample, args.vocab_size, args.out)
    print(json.dumps({"out": str(args.out), "documents": len(sample)}))
    return 0


def _shards(args: argparse.Namespace) -> int:
    from training.data.shards import write_shards
    from training.data.sources import read_sources

    manifest = write_shards(read_sources(args.sources), args.tokenizer, args.out)
    shown = ("splits", "documents_seen", "dropped")
    print(json.dumps({"out": str(args.out)} | {key: manifest[key] for key in shown}))
    return 0


def _run(args: argparse.Namespace) -> int:
    load_config(args.config, args.set)  # a wrong config fails here, before any process starts
    if args.nproc < 1:
        raise ConfigError(f"--nproc {args.nproc}: give at least 1")
    line = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(args.nproc), "-m", "training.train",
        "--config", args.config, "--data", str(args.data), "--out", str(args.out),
        *(["--init-from", str(args.init_from)] if args.init_from else []),
        *(word for override in args.set for word in ("--set", override)),
    ]  # fmt: skip
    print("torchrun", *line[3:], file=sys.stderr, flush=True)
    os.execv(sys.executable, line)


def _export(args: argparse.Namespace) -> int:
    from training.export.artifact import export_artifact

    artifact = export_artifact(args.checkpoint, args.data, args.out, name=args.name)
    print(json.dumps({"out": str(args.out), "name": artifact.name, "digest": artifact.digest}))
    return 0


def _holes(args: argparse.Namespace) -> int:
    from training.holes import write_holes

    written = write_holes(args.data, args.count, args.out, args.seed)
    print(json.dumps({"out": str(args.out), "holes": written}))
    return 0
