"""The rows of one step on one rank as tensors, and what an objective makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from training.loader import Rows


@dataclass(frozen=True, slots=True)
class Batch:
    """Ids and their successors, shape (rows, context); IGNORE among the targets has no loss.

    documents_BT and prefixes_BT are those of the loader's `Rows`.
    """

    inputs_BT: torch.Tensor
    targets_BT: torch.Tensor
    documents_BT: torch.Tensor
    prefixes_BT: torch.Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> Batch:
        """Move the loader's rows to the device."""
        parts = (rows.inputs_BT, rows.targets_BT, rows.documents_BT, rows.prefixes_BT)
        return cls(*(torch.from_numpy(part).to(device) for part in parts))

    def __len__(self) -> int:
        return len(self.inputs_BT)

    def micro(self, rows: int) -> Iterator[Batch]:
        """Cut into pieces of `rows` rows, the last may be smaller."""
        for at in range(0, len(self), rows):
            piece = slice(at, at + rows)
            yield Batch(
                self.inputs_BT[piece],
                self.targets_BT[piece],
                self.documents_BT[piece],
                self.prefixes_BT[piece],
            )


# What the model says of a batch: the nats of each target, shape (rows, context), 0 where ignored.
Nats = Callable[[Batch], torch.Tensor]


class Objective(Protocol):
    """A sum over rows and what it is divided by, so that any split of the rows gives one mean."""

    def weight(self, batch: Batch) -> torch.Tensor:
        """Share of this batch in the mean: tokens, or pairs."""
        ...

    def loss(self, nats: Nats, batch: Batch) -> torch.Tensor:
        """Sum over the batch; called once a micro-batch, asks `nats` once."""
        ...
