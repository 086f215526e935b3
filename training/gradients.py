"""Length of the gradient over all ranks, and cutting it to a limit."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from training.layout import Layout


@torch.no_grad()
def clip(parameters: Iterable[torch.nn.Parameter], limit: float, layout: Layout) -> torch.Tensor:
    """Scale all gradients so that their norm is at most `limit`; returns the norm before.

    One sum over all ranks: what several ranks hold alike is counted by each with its share.
    """
    pieces: list[torch.Tensor] = []
    squares = torch.zeros((), device=layout.mesh.device_type)
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        own = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        pieces.append(own)
        share = _shards(gradient) / dist.get_world_size()
        squares += own.float().pow(2).sum() * share
    dist.all_reduce(squares)
    norm = squares.sqrt()
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(pieces, scale)
    return norm


def _shards(gradient: torch.Tensor) -> int:
    """How many different pieces of the gradient there are."""
    if not isinstance(gradient, DTensor):
        return 1
    mesh = gradient.device_mesh
    return math.prod(
        mesh.size(number)
        for number, placement in enumerate(gradient.placements)
        if not placement.is_replicate()
    )
