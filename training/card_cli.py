"""`tabwright train card`: write a run's page from the files in its folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_card(verbs: Any) -> None:
    """Add the verb to those of `tabwright train`."""
    verb = verbs.add_parser("card", help="a run as one page: curves, lineage, spikes, samples",
                            epilog="example: tabwright train card --run runs/tiny")  # fmt: skip
    verb.add_argument("--run", type=Path, required=True, dest="folder")
    verb.set_defaults(run=_card)


def _card(args: argparse.Namespace) -> int:
    from training.card.card import write_card

    print(write_card(args.folder))
    return 0
