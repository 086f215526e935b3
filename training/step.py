"""One optimizer step over the batch of all ranks. Read `advance`.

Between the gradients and the update stands the guard: it sees what the step measured and decides
whether the parameters move. All ranks see the same numbers, so all decide alike.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from training.batch import Batch
from training.distributed import total
from training.optimizer import rate_share

if TYPE_CHECKING:
    from training.run import Run


class Measured(NamedTuple):
    """What one step found, equal on all ranks. rows: the run's rows that the batch was made of."""

    step: int
    loss: float
    grad_norm: float
    rows: range


class Guard(Protocol):
    """Looks at a step before the parameters move."""

    def accepts(self, measured: Measured) -> bool:
        """Whether the update is made; without it the gradients are dropped and the run goes on."""
        ...


class AcceptAll:
    """Makes every update."""

    def accepts(self, measured: Measured) -> bool:  # noqa: ARG002, this one does not look
        """Yes."""
        return True


def advance(run: Run) -> dict[str, float]:
    """Make one optimizer step; returns its measurements."""
    config, size = run.config, run.config.data.batch_rows
    rows = run.training.batch(run.step, size, run.rank, run.world)
    batch = Batch.of(rows, run.device)
    counted = total(run.objective.weight(batch))
    loss_sum = _gradients(run, batch, counted)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.optimizer.clip_norm)
    loss = float(total(loss_sum) / counted)
    share = rate_share(run.step, config.schedule)
    measured = Measured(
        run.step + 1, loss, float(norm), range(run.step * size, (run.step + 1) * size)
    )
    if run.guard.accepts(measured):
        run.optimizer.step(share)
    else:
        run.optimizer.forget()
    run.step += 1
    return {"step": run.step, "loss": loss, "grad_norm": measured.grad_norm,
            "lr_share": share, "tokens": int(counted)}  # fmt: skip


def _gradients(run: Run, batch: Batch, counted: torch.Tensor) -> torch.Tensor:
    """Add up the gradients of all micro-batches; returns this rank's sum of the loss."""
    loss_sum = torch.zeros((), device=run.device)
    pieces = math.ceil(len(batch) / run.config.data.micro_rows)
    for number, micro in enumerate(batch.micro(run.config.data.micro_rows), 1):
        with _gradients_travel(run, last=number == pieces):
            loss = run.objective.loss(run.nats, micro)
            # DDP averages over ranks; the batch's mean is over all its tokens.
            torch.autograd.backward(loss * (run.world / counted))
        loss_sum += loss.detach()
    return loss_sum


def _gradients_travel(run: Run, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """Only the last micro-batch of a step sends its gradients to the other ranks."""
    waits: contextlib.AbstractContextManager[None] = (
        run.replica.no_sync() if run.world > 1 and not last else contextlib.nullcontext()
    )
    return waits
