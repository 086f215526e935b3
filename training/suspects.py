"""What a spike's guard asks of a run: its rows' losses, where samples come from, and the way back.

Every function that talks to other ranks says so; all ranks reach it at the same step, because the
guard's verdict is one for all. Read `guard_of`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from tabwright.errors import RunStopped
from training.batch import Batch
from training.checkpoint import latest_checkpoint, step_folder
from training.consumed import Consumed
from training.loader import IGNORE
from training.records import METRICS, SPIKES
from training.run_folder import memory_of
from training.saving import restore
from training.spikes import RowLoss, SpikeGuard

if TYPE_CHECKING:
    from training.run import Run

logger = logging.getLogger(__name__)


def guard_of(run: Run, data: Path, out: Path) -> SpikeGuard:
    """The guard of this rank, knowing what the run's folder tells of earlier starts."""
    guard = SpikeGuard(
        run.config.spikes,
        out / SPIKES if dist.get_rank() == 0 else None,
        anywhere=lambda flag: _anywhere(run.device, flag=flag),
        gather=_gather,
        score_rows=lambda: row_losses(run),
        lineage=lambda samples: lineage(data, samples),
    )
    guard.recall(out / METRICS, out / SPIKES, run.step)
    run.training.silence(guard.silenced)
    return guard


@torch.no_grad()
def row_losses(run: Run) -> list[RowLoss]:
    """Mean loss of each of this rank's rows of the step at hand; every rank must call."""
    layout, size = run.layout, run.config.data.batch_rows
    rows = run.training.batch(run.step, size, layout.row_rank, layout.row_ranks)
    losses: list[float] = []
    for micro in Batch.of(rows, run.device).micro(run.config.data.micro_rows):
        counted_B = (micro.targets_BT != IGNORE).sum(1).clamp(min=1)
        losses += (run.nats(micro).sum(1) / counted_B).tolist()
    return [RowLoss(*row) for row in zip(rows.numbers, losses, rows.samples, strict=True)]


def lineage(data: Path, samples: Iterable[str]) -> list[dict[str, str]]:
    """Repository and path of the documents that samples are pieces of."""
    wanted = {name: name.rpartition(":")[0] for name in samples}
    documents = set(wanted.values())
    found: dict[str, dict[str, str]] = {}
    for file in sorted(data.glob("*.jsonl")) if documents else ():
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                row = json.loads(line)
                if row.get("id") in documents:
                    found[row["id"]] = {key: row[key] for key in ("source", "repo", "path")}
    return [{"sample": name, **found.get(document, {})} for name, document in wanted.items()]


def go_back(run: Run, out: Path, step: int) -> None:
    """Restore the newest checkpoint of `step` or before, else the oldest; every rank must call.

    Raises:
        RunStopped: there is no whole checkpoint.
    """
    run.saver.wait()
    found: list[str | None] = [None]
    if dist.get_rank() == 0:
        found = [_checkpoint_before(out / "checkpoints", step)]
    dist.broadcast_object_list(found, src=0)
    if found[0] is None:
        raise RunStopped(f"{out}: no whole checkpoint to go back to")
    run.step, memory = memory_of(Path(found[0]))
    run.consumed = Consumed(memory["consumed"])
    restore(Path(found[0]), run.state())
    run.training.silence(run.guard.silenced)
    logger.warning("went back to step %d", run.step)


def _checkpoint_before(folder: Path, step: int) -> str | None:
    """Rank 0: choose, and remove what a later start must not take for the newest."""
    for other in sorted(folder.glob("step-*"), reverse=True):
        if other > step_folder(folder, step) and len(list(folder.glob("step-*"))) > 1:
            shutil.rmtree(other)
    newest = latest_checkpoint([folder])
    return str(newest) if newest else None


def _anywhere(device: torch.device, *, flag: bool) -> bool:
    """Whether it is set on any rank; every rank must call."""
    seen = torch.tensor(float(flag), device=device)
    dist.all_reduce(seen, dist.ReduceOp.MAX)
    return bool(seen)


def _gather(rows: Sequence[RowLoss]) -> list[RowLoss]:
    """All ranks' rows, each once; every rank must call."""
    parts: list[Sequence[RowLoss] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, rows)
    by_number = {row.number: row for part in parts for row in part or ()}
    return [by_number[number] for number in sorted(by_number)]
