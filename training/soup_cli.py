"""`tabwright train soup`: the mean of several checkpoints' weights as one model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_soup(verbs: Any) -> None:
    """Add the verb to those of `tabwright train`."""
    verb = verbs.add_parser("soup", help="the mean of several checkpoints' weights as one model",
                            epilog="example: tabwright train soup --checkpoints "
                            "runs/a/checkpoints/step-00000400 runs/b/checkpoints/step-00000400 "
                            "--out soups/ab")  # fmt: skip
    verb.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    verb.add_argument("--shares", type=float, nargs="+", default=[], help="default: equal ones")
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_soup)


def _soup(args: argparse.Namespace) -> int:
    from training.soup import blend

    print(json.dumps(blend(args.checkpoints, args.out, args.shares)))
    return 0
