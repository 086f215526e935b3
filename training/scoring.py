"""The model as the trainer calls it: a batch in, the nats of every target out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from training.attention import positions, visible
from training.loader import IGNORE

_CHUNK = 128  # rows of logits that a core's cache holds in fp32


class Scored(torch.nn.Module):
    """A causal model with its cross-entropy; what is replicated, sharded and compiled is this."""

    def __init__(self, model: Any, precision: str, sends: torch.dtype | None = None) -> None:
        """Wrap `model`; its parameters stay where they are.

        sends: type of the states that a stage of a pipeline returns, None where the head is.
        """
        super().__init__()
        self.model = model
        self._autocast, self._sends = precision != "fp32", sends

    def forward(
        self,
        inputs: torch.Tensor,
        targets_BT: torch.Tensor | None,
        documents_BT: torch.Tensor | None = None,
        prefixes_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Nats of each target, 0 where it is ignored, row after row in one dimension.

        With `documents_BT`, the examples of a row do not see each other; without targets it is the
        likeliest id after each row that is returned. inputs: ids; the stages of a pipeline take the
        states that the one before returns, and all but the last return states.
        """
        key = "inputs_embeds" if inputs.is_floating_point() else "input_ids"
        given: dict[str, torch.Tensor] = {key: inputs}
        if documents_BT is not None:
            given["attention_mask"] = visible(documents_BT, prefixes_BT)
            given["position_ids"] = positions(documents_BT)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self._autocast):
            if self._sends is not None:
                states_BTD: torch.Tensor = self.model.model(**given).last_hidden_state
                return states_BTD.to(self._sends).contiguous()
            if targets_BT is None:
                likeliest_B: torch.Tensor = self.model(**given).logits[:, -1].argmax(dim=-1)
                return likeliest_B
            targets_N = targets_BT.flatten()
            if self._head_is_plain():
                hidden_BTD = self.model.model(**given).last_hidden_state
                hidden_ND, head_VD = hidden_BTD.flatten(0, 1), self.model.lm_head.weight
                kind = torch.bfloat16 if self._autocast else hidden_ND.dtype
                nats: torch.Tensor = HeadNats.apply(  # type: ignore[no-untyped-call]
                    hidden_ND, head_VD, targets_N, kind
                )
                return nats
            logits_BTV = self.model(**given).logits
        return F.cross_entropy(
            logits_BTV.flatten(0, 1).float(), targets_N, ignore_index=IGNORE, reduction="none"
        )

    def _head_is_plain(self) -> bool:
        """Whether the head is one matrix of this rank. A compiler fuses the rest better itself."""
        head = self.model.lm_head
        return (
            not torch.compiler.is_compiling()
            and type(head) is torch.nn.Linear
            and head.bias is None
            and not isinstance(head.weight, DTensor)
        )


def passed(scored: Any, *given: torch.Tensor | None) -> torch.Tensor:
    """What `scored` says; with no way back to come, it keeps nothing gathered.

    FSDP leaves what lies outside of the layers whole until the way back, and whoever reads a
    checkpoint into it meanwhile changes the copy and not the parameters.
    """
    found: torch.Tensor = scored(*given)
    if isinstance(scored, FSDPModule) and not torch.is_grad_enabled():
        scored.reshard()
    return found


class HeadNats(torch.autograd.Function):
    """Product with the head and cross-entropy in one, a few rows at a time.

    Logits of all rows exist once, as probabilities in the type of the product, and never in fp32:
    the gradient of a row is a multiple of its probabilities less its target.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        head_VD: torch.Tensor,
        targets_N: torch.Tensor,
        kind: torch.dtype,
    ) -> torch.Tensor:
        """Nats of each target, 0 where it is ignored."""
        hidden, head = hidden_ND.to(kind), head_VD.to(kind)
        counts_N = targets_N != IGNORE
        targets_N1 = targets_N.clamp(min=0)[:, None]
        nats_N = torch.empty(len(hidden), device=hidden.device)
        probabilities_NV = torch.empty(len(hidden), len(head), dtype=kind, device=hidden.device)
        for at in range(0, len(hidden), _CHUNK):
            rows = slice(at, at + _CHUNK)
            logs = F.log_softmax(hidden[rows] @ head.T, dim=1, dtype=torch.float32)
            nats_N[rows] = -logs.gather(1, targets_N1[rows])[:, 0]
            probabilities_NV[rows] = logs.exp_()
        less = torch.full_like(targets_N1, -1, dtype=kind)
        ctx.save_for_backward(hidden, head, probabilities_NV.scatter_add_(1, targets_N1, less))
        ctx.counts_N, ctx.kinds = counts_N, (hidden_ND.dtype, head_VD.dtype)
        return nats_N * counts_N

    @staticmethod
    def backward(
        ctx: Any, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        """Of the hidden states and the head."""
        hidden, head, errors_NV = ctx.saved_tensors
        weights_N1 = (gradients[0] * ctx.counts_N)[:, None]
        of_hidden = (errors_NV @ head) * weights_N1
        of_head = errors_NV.T @ (hidden * weights_N1).to(hidden.dtype)
        return of_hidden.to(ctx.kinds[0]), of_head.to(ctx.kinds[1]), None, None
