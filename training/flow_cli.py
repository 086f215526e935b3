"""`tabwright train flow`: prints the Metaflow line and becomes it."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from tabwright.errors import MissingExtra


def add_flow(verbs: Any) -> None:
    """Add the verb to those of `tabwright train`."""
    verb = verbs.add_parser("flow", help="data to export as one Metaflow flow",
                            epilog="example: tabwright train flow --data-config data.toml "
                            "--config tiny --out flows/first")  # fmt: skip
    add = verb.add_argument
    add("--data-config", type=Path, required=True)
    add("--config", default="tiny")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    add("--out", type=Path, required=True, help="folder that every node sees")
    add("--name", default="mine", help="the model id that clients see")
    add("--nodes", type=int, default=1)
    add("--nproc", type=int, default=1)
    add("--resume", action="store_true", help="go on with the flow's last run in --out")
    add("--with", action="append", default=[], dest="decorators", metavar="DECORATOR",
        help="Metaflow's, kubernetes:image=... say")  # fmt: skip
    verb.set_defaults(run=_flow)


def _flow(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("metaflow") is None:
        raise MissingExtra("metaflow", "flow")
    args.out.mkdir(parents=True, exist_ok=True)
    options = [
        "--data-config", str(args.data_config.resolve()), "--config", args.config,
        "--out", str(args.out.resolve()), "--sets", json.dumps(args.set),
        "--name-served", args.name, "--nodes", str(args.nodes), "--nproc", str(args.nproc),
    ]  # fmt: skip
    above = [word for one in args.decorators for word in ("--with", one)]
    verb = ["resume"] if args.resume else ["run", *options]
    line = [sys.executable, "-m", "training.flow", *above, *verb]
    print("python", *line[1:], file=sys.stderr, flush=True)
    # Metaflow's own files stay with the run, and it must know who starts it.
    os.environ.setdefault("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(args.out.resolve()))
    os.environ.setdefault("METAFLOW_USER", _user())
    os.execv(sys.executable, line)


def _user() -> str:
    """Who is at work; Metaflow refuses root, as whom containers run."""
    name = getpass.getuser()
    return "tabwright" if name == "root" else name
