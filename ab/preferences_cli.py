"""`tabwright ab export-preferences`: pairs to learn from, of those who agreed."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ab.flags import Flag
from ab.preferences import pairs, read_texts
from ab.stores.registry import open_store
from tabwright.errors import ConfigError


def add_verb(verb: Callable[..., argparse.ArgumentParser], verbs: Any) -> None:
    """Give the parser of `tabwright ab` the verb `export-preferences`."""
    made = verb(verbs, "export-preferences", "pairs of accepted and rejected texts, by consent",
                _export, "--consent training --texts texts.jsonl --out pairs.jsonl")  # fmt: skip
    made.add_argument("--consent", required=True, metavar="FLAG",
                      help="boolean flag; only users with an override of true count")  # fmt: skip
    made.add_argument("--texts", required=True, nargs="+", type=Path, metavar="FILE",
                      help="JSON lines of what was suggested, see docs/ab.md")  # fmt: skip
    made.add_argument("--out", required=True, type=Path)


def _export(args: argparse.Namespace) -> int:
    with closing(open_store(args.address(args))) as store:
        while store.count("tabwright ab"):
            pass
        known = store.flags().get(args.consent)
        consent = _consent(args.consent, known.flag if known else None)
        texts = (text for path in args.texts for text in read_texts(path))
        found = pairs(store.events(), texts, consent)
    _write(args.out, "".join(json.dumps(pair._asdict()) + "\n" for pair in found.pairs))
    told = {"pairs": len(found.pairs), "left_out": dict(sorted(found.left_out.items()))}
    if args.json:
        print(json.dumps(told))
    else:
        left = "  ".join(f"{reason} {count}" for reason, count in found.left_out.items())
        print(f"{len(found.pairs)} pairs; left out: {left or 'nothing'}")
    return 0


def _consent(key: str, flag: Flag | None) -> Flag:
    if flag is None:
        raise ConfigError(
            f"--consent {key}: no such flag; make it with `tabwright ab flags set {key} "
            "--variant yes=true --variant no=false --default no`, then `override` for each user"
        )
    if not all(isinstance(value, bool) for value in flag.variants.values()):
        raise ConfigError(f"--consent {key}: give a flag whose variants are true and false")
    return flag


def _write(path: Path, text: str) -> None:
    """Write for the owner's eyes only: it is code of people."""
    try:
        work = path.with_name(f".{path.name}.partial")
        work.unlink(missing_ok=True)
        with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)
        work.rename(path)
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written: {error.strerror}") from None
