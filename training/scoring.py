"""The model as the trainer calls it: a batch in, the nats of every target out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from training.loader import IGNORE


class Scored(torch.nn.Module):
    """A causal model with its cross-entropy; what is replicated, sharded and compiled is this."""

    def __init__(self, model: Any, *, bf16: bool) -> None:
        """Wrap `model`; its parameters stay where they are."""
        super().__init__()
        self.model = model
        self._bf16 = bf16

    def forward(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Nats of each target, 0 where it is ignored."""
        with torch.autocast(inputs_BT.device.type, torch.bfloat16, enabled=self._bf16):
            logits_BTV = self.model(input_ids=inputs_BT).logits
        nats = F.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="none",
        )
        return nats.view_as(targets_BT)
