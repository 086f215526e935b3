"""`tabwright train data`: make shards of raw code, and ask about them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tabwright.errors import EngineFailed
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

    verb = verbs.add_parser("report", help="what went in and out of every step, and why",
                            epilog="example: tabwright train data report --run data/run "
                            "--json")  # fmt: skip
    verb.add_argument("--run", type=Path, required=True, dest="folder")
    verb.add_argument("--json", action="store_true", help="the whole ledger")
    verb.set_defaults(run=_report)

    verb = verbs.add_parser("explain", help="why one document was kept or dropped",
                            epilog="example: tabwright train data explain --run data/run "
                            "--path src/main.py")  # fmt: skip
    verb.add_argument("--run", type=Path, required=True, dest="folder")
    which = verb.add_mutually_exclusive_group(required=True)
    which.add_argument("--id", help="lineage id, as shards and ledger have it")
    which.add_argument("--path", help="path within its repository")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_explain)

    verb = verbs.add_parser("audit", help="recall and precision of near duplicates, on a sample",
                            epilog="example: tabwright train data audit --run data/run "
                            "--sample 5000")  # fmt: skip
    verb.add_argument("--run", type=Path, required=True, dest="folder")
    verb.add_argument("--sample", type=int, default=5000, help="documents; all their pairs count")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_audit)

    verb = verbs.add_parser("fetch", help="copy shards from S3 and the like, to train on them",
                            epilog="example: tabwright train data fetch --from "
                            "s3://bucket/run/shards --out data")  # fmt: skip
    verb.add_argument("--from", required=True, dest="address", help="any address fsspec knows")
    verb.add_argument("--out", type=Path, required=True, help="the copy is below, by its digest")
    verb.set_defaults(run=_fetch)

    verb = verbs.add_parser("opt-out", help="name what was made of a repository",
                            epilog="example: tabwright train data opt-out --repo someone/project "
                            "--runs data runs artifacts")  # fmt: skip
    verb.add_argument("--repo", required=True)
    verb.add_argument("--runs", type=Path, nargs="+", required=True, metavar="DIR",
                      help="looked through for shards, checkpoints and artifacts")  # fmt: skip
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_opt_out)


def _run(args: argparse.Namespace) -> int:
    from training.data.config import read_config
    from training.data.pipeline import build
    from training.data.run import alone, open_run

    config = read_config(args.config)
    opener = load_engine(args.engine)
    with alone(args.out):
        run = open_run(args.out, config)
        try:
            with opener(master=args.master, workers=args.workers, progress=_show) as engine:
                manifest = build(engine, run)
        except OSError as error:
            again = "when that is mended, run it again to go on"
            raise EngineFailed(f"--out {args.out}: {error}; {again}") from error
    if args.json:
        print(json.dumps(manifest))
    else:
        for split, counts in manifest["splits"].items():
            print(f"{split}: {counts['documents']:,} documents, {counts['tokens']:,} tokens")
        print(f"{args.out / 'shards'}: digest {manifest['digest']}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from training.data.ledger import PAGE, write_ledger
    from training.data.run import read_run

    with load_engine("local")() as engine:
        ledger = write_ledger(engine, read_run(args.folder))
    if args.json:
        print(json.dumps(ledger))
        return 0
    print(f"{'step':<18} {'rows in':>12} {'rows out':>12} {'bytes in':>16} {'bytes out':>16}")
    for step in dict.fromkeys(row["step"] for row in ledger["steps"]):
        rows = [row for row in ledger["steps"] if row["step"] == step]
        sums = [sum(r[n] for r in rows) for n in ("rows_in", "rows_out", "bytes_in", "bytes_out")]
        print(f"{step:<18} {sums[0]:>12,} {sums[1]:>12,} {sums[2]:>16,} {sums[3]:>16,}")
    for reason, counts in ledger["reasons"].items():
        print(f"{reason}: {counts['documents']:,} documents, {counts['bytes']:,} bytes")
    print(args.folder / PAGE)
    return 0


def _explain(args: argparse.Namespace) -> int:
    from training.data.explanation import explain
    from training.data.run import read_run

    column, value = ("id", args.id) if args.id else ("path", args.path)
    for row in explain(read_run(args.folder), column, value):
        if args.json:
            print(json.dumps(row))
            continue
        repo = f"{row['repo']}@{row['commit']}" if row["commit"] else row["repo"]
        print(f"{repo}: {row['path']} ({row['id']}): {row['fate']}")
        for tag in row["tags"]:
            print(f"  {tag['tag']}: {tag['evidence']}{'' if tag['drops'] else ' (does not drop)'}")
        copied = [("copy of", row["duplicate_of"])] if row["duplicate_of"] else []
        for relation, other in [*copied, *(("alike", other) for other in row["alike"])]:
            index = "same text" if other["jaccard"] is None else f"Jaccard {other['jaccard']:.3f}"
            print(f"  {relation} {other['repo']}: {other['path']} ({other['id']}), {index}")
        if row["copies"]:
            print(f"  {row['copies']} others were dropped for it")
        if place := row["shards"]:
            print(f"  {place['shard']}: {place['tokens']} ids from {place['start']}")
    return 0


def _audit(args: argparse.Namespace) -> int:
    from training.data.audit import as_json, audit
    from training.data.run import read_run

    found = audit(read_run(args.folder), args.sample)
    if args.json:
        print(json.dumps(as_json(found)))
        return 0
    print(f"{found.sample:,} documents: {found.alike:,} pairs are alike, {found.linked:,} linked")
    print(f"recall {found.recall:.4f} (linked directly {found.linked_recall:.4f})")
    print(f"precision {found.precision:.4f}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from training.data.remote import local_copy

    print(local_copy(args.address, args.out))
    return 0


def _opt_out(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from training.data.affected import find_affected

    found = find_affected(args.repo, args.runs)
    if args.json:
        print(json.dumps(asdict(found)))
        return 0
    for shard, (documents, tokens) in found.shards.items():
        print(f"shard {shard}: {documents} documents, {tokens} tokens")
    for kind, places in (("checkpoint", found.checkpoints), ("artifact", found.artifacts)):
        for place in places:
            print(f"{kind} {place}")
    if not found.shards:
        print(f"{args.repo} is in no shard there")
    return 0


def _show(progress: Progress) -> None:
    end = "\n" if progress.done == progress.total else ""
    print(f"\r{progress.step:>10} {progress.done}/{progress.total} parts", end=end,
          file=sys.stderr, flush=True)  # fmt: skip
