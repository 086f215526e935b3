"""The mean cross-entropy of every token that is not to be ignored."""

from __future__ import annotations

import torch

from training.batch import Batch, Nats
from training.loader import IGNORE


class NextToken:
    """Plain language modelling; holes are only another way to lay out the rows."""

    def weight(self, batch: Batch) -> torch.Tensor:
        """Tokens that count."""
        return (batch.targets_BT != IGNORE).sum()

    def loss(self, nats: Nats, batch: Batch) -> torch.Tensor:
        """Sum of the nats of all tokens that count."""
        return nats(batch).sum()
