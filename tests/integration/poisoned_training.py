"""Train on two ranks, forks of this process, some of whose rows are poison.

`python -m tests.integration.poisoned_training OUT ROWS NAN -- TRAINER OPTIONS`: rows numbered ROWS
(comma separated) hold random ids; the second rank's micro-batch NAN (0: none) has no number for a
loss, once. Every rank notes what its guard said in OUT/rank-N.jsonl.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers.models.llama.modeling_llama  # noqa: F401

import training.train
from training.batch import Batch, Nats
from training.loader import IGNORE, Loader, Rows
from training.objectives.next_token import NextToken
from training.spikes import SpikeGuard
from training.step import Measured


def main() -> int:
    """Fork the ranks and wait for both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    out, rows, nan = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    poisoned = {int(row) for row in rows.split(",") if row}
    ranks = []
    for rank in range(2):
        if pid := os.fork():
            ranks.append(pid)
            continue
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
        note_verdicts(out / f"rank-{rank}.jsonl")
        poison_rows(poisoned)
        if rank == 1:
            poison_loss(nan)
        os._exit(training.train.main(sys.argv[5:]))
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in ranks)


def note_verdicts(file: Path) -> None:
    """Write down every verdict of this rank's guard."""
    accepts = SpikeGuard.accepts

    def noted(self: SpikeGuard, measured: Measured) -> bool:
        verdict = accepts(self, measured)
        with file.open("a") as stream:
            stream.write(json.dumps([measured.step, verdict, self.back_to]) + "\n")
        return verdict

    SpikeGuard.accepts = noted  # type: ignore[method-assign]


def poison_rows(chosen: set[int]) -> None:
    """Put random ids where these rows are read; what is silenced stays silent."""
    rows_of = Loader.rows

    def poisoned(self: Loader, numbers: Sequence[int]) -> Rows:
        rows = rows_of(self, numbers)
        for place, number in enumerate(rows.numbers):
            if number in chosen:
                rng = np.random.default_rng(number)
                ids = rng.integers(20, 250, size=rows.inputs_BT.shape[1])
                rows.inputs_BT[place] = ids
                learnt = rows.targets_BT[place] != IGNORE
                rows.targets_BT[place] = np.where(learnt, np.roll(ids, -1), IGNORE)
        return rows

    Loader.rows = poisoned  # type: ignore[method-assign]


def poison_loss(chosen: int) -> None:
    """Let the loss of one micro-batch be no number, as a faulty chip does."""
    loss_of, calls = NextToken.loss, 0

    def poisoned(self: NextToken, nats: Nats, batch: Batch) -> torch.Tensor:
        nonlocal calls
        loss = loss_of(self, nats, batch)
        calls += torch.is_grad_enabled()
        return loss * float("nan") if calls == chosen and torch.is_grad_enabled() else loss

    NextToken.loss = poisoned  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
