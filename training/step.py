"""One optimizer step over the batch of all ranks. Read `advance`.

Between the gradients and the update stands the guard: it sees what the step measured and decides
whether the parameters move. All ranks see the same numbers, so all decide alike.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch.distributed.fsdp import FSDPModule

from training.batch import Batch
from training.gradients import clip
from training.optimizer import rate_share
from training.pipeline import Pipeline

if TYPE_CHECKING:
    from training.run import Run


class Measured(NamedTuple):
    """What one step found, equal on all ranks. rows: the run's rows that the batch was made of."""

    step: int
    loss: float
    grad_norm: float
    rows: range


class Guard(Protocol):
    """Looks at a step before the parameters move.

    rate: what the rates are multiplied with. spike: what was wrong with the last step. back_to: the
    step that the run has to go back to. silenced: samples that carry no loss from then on.
    """

    rate: float
    spike: str | None
    back_to: int | None
    silenced: set[str]

    def accepts(self, measured: Measured) -> bool:
        """Whether the update is made; without it the gradients are dropped and the run goes on."""
        ...


class AcceptAll:
    """Makes every update."""

    def __init__(self) -> None:
        self.rate = 1.0
        self.spike: str | None = None
        self.back_to: int | None = None
        self.silenced: set[str] = set()

    def accepts(self, measured: Measured) -> bool:  # noqa: ARG002, this one does not look
        """Yes."""
        return True


def advance(run: Run) -> dict[str, float]:
    """Make one optimizer step; returns its measurements."""
    config, layout, size = run.config, run.layout, run.config.data.batch_rows
    # Whatever is drawn in this step follows from it alone, also after a resume.
    torch.manual_seed(hash((config.data.seed, run.step, layout.row_rank)))
    run.watchdog.does("reading a batch")
    with run.pace.own():
        rows = run.training.batch(run.step, size, layout.row_rank, layout.row_ranks)
    run.consumed.add(rows.numbers, rows.samples)
    batch = Batch.of(rows, run.device)
    counted = layout.total(run.objective.weight(batch)).clamp(min=1)
    loss_sum = _gradients(run, batch, counted)
    run.watchdog.does("updating")
    norm = clip(run.parameters, config.optimizer.clip_norm, layout)
    loss, norm = layout.agreed(torch.stack([layout.total(loss_sum) / counted, norm])).tolist()
    share = rate_share(run.step, config.schedule) * run.guard.rate
    numbers = range(run.step * size, (run.step + 1) * size)
    if run.guard.accepts(Measured(run.step + 1, loss, norm, numbers)):
        run.optimizer.step(share)
    else:
        run.optimizer.forget()
    if run.average is not None:
        run.average.update()
    run.step += 1
    run.pace.next(run.step)
    return {"step": run.step, "loss": loss, "grad_norm": norm,
            "lr_share": share, "tokens": int(counted)}  # fmt: skip


def _gradients(run: Run, batch: Batch, counted: torch.Tensor) -> torch.Tensor:
    """Add up the gradients of all micro-batches; returns this rank's sum of the loss."""
    # The ranks' gradients are averaged; the batch's mean is over all its tokens.
    scale = run.layout.row_ranks / counted
    if isinstance(run.scored, Pipeline):
        run.watchdog.does("the pipeline")
        return run.scored.backward(batch, run.objective, scale)
    loss_sum = torch.zeros((), device=run.device)
    sharded = isinstance(run.scored, FSDPModule)
    pieces = math.ceil(len(batch) / run.config.data.micro_rows)
    for number, micro in enumerate(batch.micro(run.config.data.micro_rows), 1):
        with _gradients_travel(run.scored, last=number == pieces):
            run.watchdog.does("forward")
            with contextlib.nullcontext() if sharded else run.pace.own():
                loss = run.objective.loss(run.nats, micro)
            run.watchdog.does("backward")
            torch.autograd.backward(loss * scale)
        loss_sum += loss.detach()
    return loss_sum


@contextlib.contextmanager
def _gradients_travel(scored: Any, *, last: bool) -> Iterator[None]:
    """Only the last micro-batch of a step sends its gradients to the other ranks."""
    if isinstance(scored, FSDPModule):
        scored.set_requires_gradient_sync(last)
        yield
    elif hasattr(scored, "no_sync") and not last:
        with scored.no_sync():
            yield
    else:
        yield
