"""The model as the trainer calls it: a batch in, the nats of every target out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from training.attention import positions, visible
from training.loader import IGNORE


class Scored(torch.nn.Module):
    """A causal model with its cross-entropy; what is replicated, sharded and compiled is this."""

    def __init__(self, model: Any, precision: str) -> None:
        """Wrap `model`; its parameters stay where they are."""
        super().__init__()
        self.model = model
        self._autocast = precision != "fp32"

    def forward(
        self,
        inputs_BT: torch.Tensor,
        targets_BT: torch.Tensor,
        documents_BT: torch.Tensor | None = None,
        prefixes_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Nats of each target, 0 where it is ignored, row after row in one dimension.

        With `documents_BT`, the examples of a row do not see each other.
        """
        seen: dict[str, torch.Tensor] = {}
        if documents_BT is not None:
            seen["attention_mask"] = visible(documents_BT, prefixes_BT)
            seen["position_ids"] = positions(documents_BT)
        with torch.autocast(inputs_BT.device.type, torch.bfloat16, enabled=self._autocast):
            logits_BTV = self.model(input_ids=inputs_BT, **seen).logits
        nats: torch.Tensor = F.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="none",
        )
        return nats
