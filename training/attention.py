"""Which ids of a packed row see each other: only those of one example, and only what came before.

Ids of a prefix see all of their prefix (prefix-LM). Each example's positions begin at 0, so it is
what it would be in a row of its own.
"""

from __future__ import annotations

import torch


def positions(documents_BT: torch.Tensor) -> torch.Tensor:
    """Place of every id within its example."""
    at_T = torch.arange(documents_BT.size(1), device=documents_BT.device)
    begins = torch.ones_like(documents_BT, dtype=torch.bool)
    begins[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    starts_BT = torch.where(begins, at_T, 0).cummax(dim=1).values
    return at_T - starts_BT


def visible(documents_BT: torch.Tensor, prefixes_BT: torch.Tensor | None = None) -> torch.Tensor:
    """Mask of shape (rows, 1, context, context): whether an id sees another."""
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    context = documents_BT.size(1)
    sees = torch.ones(context, context, dtype=torch.bool, device=documents_BT.device).tril()
    if prefixes_BT is None:
        return (same_BTT & sees)[:, None]
    both_BTT = prefixes_BT[:, :, None] & prefixes_BT[:, None, :]
    return (same_BTT & (sees | both_BTT))[:, None]
