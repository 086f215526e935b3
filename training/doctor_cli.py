"""`tabwright train doctor`: the probe on this machine's processes, through torchrun."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError, Unavailable
from training.doctor.diagnosis import Diagnosis, Measured, table

SLOW = 1


def add_doctor(verbs: Any) -> None:
    """Add the verb to those of `tabwright train`."""
    verb = verbs.add_parser("doctor", help="measure every rank before a run, name the slow one",
                            epilog="example: tabwright train doctor --nproc 2 --folder runs "
                            "--config tiny")  # fmt: skip
    add = verb.add_argument
    add("--folder", type=Path, default=Path("runs"), help="where checkpoints will go")
    add("--nproc", type=int, default=1, help="processes on this machine")
    add("--precision", choices=("bf16", "fp32"), default="bf16")
    add("--tolerance", type=float, default=0.2, help="share below the median that is slow")
    add("--megabytes", type=int, default=256, help="written to the disk and sent to the next rank")
    add("--config", help="the run to come, for the time of its checkpoints")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    add("--json", action="store_true")
    verb.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    if args.nproc < 1 or args.megabytes < 1:
        raise ConfigError(f"--nproc {args.nproc}, --megabytes {args.megabytes}: give at least 1")
    if not 0 < args.tolerance < 1:
        raise ConfigError(f"--tolerance {args.tolerance:g}: a share between 0 and 1")
    line = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(args.nproc), "-m", "training.doctor.probe",
        "--folder", str(args.folder), "--precision", args.precision,
        "--tolerance", str(args.tolerance), "--megabytes", str(args.megabytes),
        *(["--checkpoint-bytes", str(_bytes(args))] if args.config else []),
        "--json",
    ]  # fmt: skip
    print("torchrun", *line[3:], file=sys.stderr, flush=True)
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the probe ended with {done.returncode}; what it said stands above")
    told = json.loads(done.stdout)
    print(json.dumps(told) if args.json else _text(told))
    return SLOW if told["slow"] else 0


def _text(told: dict[str, Any]) -> str:
    ranks = [Measured(**one) for one in told["ranks"]]
    slow = {int(rank): figures for rank, figures in told["slow"].items()}
    return "\n".join(table(ranks, Diagnosis(told["medians"], slow, told["checkpoint_s"])))


def _bytes(args: argparse.Namespace) -> int:
    """Size of the config's checkpoints, as the plan has it."""
    from training.config import load_config
    from training.plan import Model, saved_bytes
    from training.plan_cli import ASSUMED_VOCABULARY, shape_of, work_of

    config = load_config(args.config, args.set)
    model = Model.of(shape_of(config.model, ASSUMED_VOCABULARY))
    return saved_bytes(model, work_of(config))
