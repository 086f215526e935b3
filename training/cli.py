"""`tabwright train`: the verbs from raw code to an artifact, in the order of their use."""

from __future__ import annotations

import argparse
import json
import os
import sys
import sysconfig
from pathlib import Path

from tabwright.cli import EXTRA_OF
from tabwright.errors import ConfigError, MissingExtra
from training.card_cli import add_card
from training.config import load_config
from training.data.cli import add_verbs
from training.doctor_cli import add_doctor
from training.flow_cli import add_flow
from training.learning_cli import add_verbs as add_learning_verbs
from training.plan_cli import add_plan
from training.soup_cli import add_soup


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
        raise MissingExtra(str(error.name), _extra(error.name or "")) from error
    return result


def _extra(module: str) -> str:
    extra = EXTRA_OF.get(module.split(".")[0], "train")
    return extra if extra in ("data", "spark", "tracking", "flow") else "train"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright train",
        description="Train a completion model: tokenizer, shards, run, export.",
        epilog="example: tabwright train run --config tiny --data data/run/shards --out runs/tiny",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    data = verbs.add_parser("data", help="raw code to shards: filter, deduplicate, tokenise",
                            epilog="example: tabwright train data run --config data.toml "
                            "--out data/run")  # fmt: skip
    add_verbs(data)

    add_plan(verbs)
    add_doctor(verbs)
    add_card(verbs)
    add_flow(verbs)
    add_learning_verbs(verbs)
    add_soup(verbs)

    _add_run(verbs)
    verb = verbs.add_parser("export", help="publish a checkpoint as an artifact",
                            epilog="example: tabwright train export --checkpoint "
                            "runs/tiny/checkpoints/step-00001600 --data data/run/shards "
                            "--out artifacts/mine --name mine")  # fmt: skip
    verb.add_argument("--checkpoint", type=Path, required=True)
    verb.add_argument("--data", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--name", required=True, help="the model id that clients see")
    verb.set_defaults(run=_export)

    verb = verbs.add_parser("tokenizer", help="characters a token holds, by language",
                            epilog="example: tabwright train tokenizer --run data/run")  # fmt: skip
    verb.add_argument("--run", type=Path, required=True, dest="folder")
    verb.add_argument("--prose", type=Path, default=Path(sysconfig.get_path("purelib")),
                      help="texts that the other vocabulary is learnt from")  # fmt: skip
    verb.add_argument("--gpt2", type=Path, metavar="FOLDER",
                      help="GPT-2's encoder.json and vocab.bpe, to compare with")  # fmt: skip
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_tokenizer)

    verb = verbs.add_parser("holes", help="cut single-line holes out of held-out files",
                            epilog="example: tabwright train holes --data data/run/shards "
                            "--count 500 --out data/holes.jsonl")  # fmt: skip
    verb.add_argument("--data", type=Path, required=True)
    verb.add_argument("--count", type=int, default=500)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_holes)
    return parser


def _add_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = verbs.add_parser("run", help="print the torchrun line and become it",
                            epilog="example: tabwright train run --config tiny --out runs/tiny "
                            "--data data/run/shards --set schedule.steps=200")  # fmt: skip
    verb.add_argument("--config", default="tiny")
    verb.add_argument("--data", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--init-from", type=Path)
    verb.add_argument("--nproc", type=int, default=1, help="processes on this machine")
    verb.add_argument(
        "--max-restarts",
        type=int,
        default=3,
        help="how often a run goes on by itself after a rank died",
    )
    verb.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    verb.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from training.data.shards import read_manifest
    from training.run_folder import claim

    # What is wrong fails here, before any process starts that torchrun would start again.
    config = load_config(args.config, args.set)
    if args.nproc < 1 or args.max_restarts < 0:
        raise ConfigError(
            f"--nproc {args.nproc} --max-restarts {args.max_restarts}: give at least 1 and 0"
        )
    config.row_ranks(args.nproc)
    claim(args.out, config, read_manifest(args.data)["digest"], args.init_from)
    line = [
        sys.executable, "-m", "training.launch", "--standalone",
        "--nproc-per-node", str(args.nproc), "--max-restarts", str(args.max_restarts),
        "-m", "training.train",
        "--config", args.config, "--data", str(args.data), "--out", str(args.out),
        *(["--init-from", str(args.init_from)] if args.init_from else []),
        *(word for override in args.set for word in ("--set", override)),
    ]  # fmt: skip
    # Else torch's launcher keeps one store for all starts, with the addresses of dead ranks.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    print("torchrun", *line[3:], file=sys.stderr, flush=True)
    os.execv(sys.executable, line)


def _export(args: argparse.Namespace) -> int:
    from training.export.artifact import export_artifact

    artifact = export_artifact(args.checkpoint, args.data, args.out, name=args.name)
    print(json.dumps({"out": str(args.out), "name": artifact.name, "digest": artifact.digest}))
    return 0


def _tokenizer(args: argparse.Namespace) -> int:
    from training.data.run import read_run
    from training.fertility import fertility

    rows = fertility(read_run(args.folder), args.prose, args.gpt2)
    if args.json:
        print(json.dumps([row._asdict() for row in rows]))
        return 0
    print(f"{'language':<16} {'characters':>12} {'a token':>8} {'of prose':>9} {'GPT-2':>8}")
    for row in rows:
        gpt2 = "-" if row.gpt2 is None else f"{row.gpt2:.2f}"
        print(
            f"{row.language:<16} {row.characters:>12,} {row.own:>8.2f} {row.prose:>9.2f} {gpt2:>8}"
        )
    return 0


def _holes(args: argparse.Namespace) -> int:
    from training.holes import write_holes

    written = write_holes(args.data, args.count, args.out, args.seed)
    print(json.dumps({"out": str(args.out), "holes": written}))
    return 0
