"""The training run: `torchrun -m training.train --config tiny --data SHARDS --out DIR`.

Read `train`, then `step.advance`; `run.py` is what a rank holds. Every rank reads its rows of the
step's batch, gradients are averaged over the ranks, rank 0 writes metrics and checkpoints. A run
started again in the same folder goes on after its newest good checkpoint. SIGTERM saves and leaves.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

from tabwright.cli import exit_code
from tabwright.errors import RunStopped, TabwrightError
from training.config import TrainConfig, load_config
from training.distributed import process_group
from training.observation.observer import observed
from training.records import Row
from training.run import Run
from training.step import advance
from training.stopping import StopSignal, note_stop, refuse_restart
from training.suspects import go_back


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train; every rank of torchrun calls this."""
    parser = argparse.ArgumentParser(
        prog="torchrun -m training.train",
        epilog="example: torchrun --nproc-per-node 2 -m training.train --config tiny "
        "--data data/shards --out runs/tiny",
    )
    parser.add_argument("--config", default="tiny", help="name in training/configs, or a file")
    parser.add_argument("--data", type=Path, required=True, help="shard folder")
    parser.add_argument("--out", type=Path, required=True, help="run folder; resumed if it exists")
    parser.add_argument("--init-from", type=Path, help="checkpoint whose weights to start from")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    args = parser.parse_args(argv)
    # Said by torch whenever one rank puts a model together from the pieces of all.
    warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
    # Its successor is not in torch 2.11.
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_config(args.config, args.set)
        refuse_restart(args.out)
        with process_group():
            train(config, args.data, args.out, init_from=args.init_from)
    except TabwrightError as error:
        if isinstance(error, RunStopped):
            note_stop(args.out, str(error))
        sys.stderr.write(f"training.train: {error}\n")
        return exit_code(error)
    return 0


def train(config: TrainConfig, data: Path, out: Path, *, init_from: Path | None = None) -> None:
    """Train `config` on the shards in `data`, writing into the folder `out`.

    Raises:
        ConfigError: the ranks cannot share the work, or `out` is another run's.
        CorruptArtifact: a shard was altered, or the last checkpoint could not be written.
    """
    run = Run.start(config, data, out, init_from)
    stop = StopSignal()
    if config.spikes.policy == "rollback" and run.step == 0:
        run.save()
    with observed(run, data, out) as watch, run.watchdog:
        while run.step < config.schedule.steps and not stop.anywhere(run.device):
            began = time.perf_counter()
            row: Row = {**advance(run)}
            took = time.perf_counter() - began
            finished = run.step == config.schedule.steps
            if run.step % config.run.eval_every == 0 or finished:
                row |= watch.measure()
            watch.step(row, took)
            if run.guard.back_to is not None:
                go_back(run, out, run.guard.back_to)
            elif run.step % config.checkpoint.every == 0 or finished:
                run.save()
                watch.sample()
    if stop.received:
        run.save()
    run.close()


if __name__ == "__main__":
    sys.exit(main())
