"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290).

The trained model shall prefer the chosen text of a pair over the rejected one by more than the
model that it started from did: -log sigmoid(beta * margin), where the margin is by how much more
the first has become likelier than the second. Rows are those of `training.pairs`; they need the
mask of documents, or the rejected text would see the chosen one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from training.batch import Batch, Nats
from training.pairs import CHOSEN, REJECTED


class Preference:
    """Compares with `reference`, which scores as the model did before."""

    def __init__(self, reference: Nats, beta: float) -> None:
        """beta: how much a margin counts; the smaller, the further the model may go."""
        self._reference, self._beta = reference, beta

    def weight(self, batch: Batch) -> torch.Tensor:
        """Pairs."""
        return torch.tensor(len(batch), device=batch.inputs_BT.device)

    def loss(self, nats: Nats, batch: Batch) -> torch.Tensor:
        """Sum over the pairs."""
        with torch.no_grad():
            before_BT = self._reference(batch)
        margins = self._advantage(batch, before_BT) - self._advantage(batch, nats(batch))
        return -F.logsigmoid(self._beta * margins).sum()

    def _advantage(self, batch: Batch, nats_BT: torch.Tensor) -> torch.Tensor:
        """Nats of each row's chosen text less those of its rejected one; prompts have none.

        A target belongs to the text of the id before it, and padding has no loss.
        """
        chosen = (nats_BT * (batch.documents_BT == CHOSEN)).sum(dim=1)
        rejected = (nats_BT * (batch.documents_BT == REJECTED)).sum(dim=1)
        return chosen - rejected
