"""Length of the gradient over all ranks, and cutting it to a limit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from training.layout import Layout

Held = Sequence[tuple[torch.nn.Parameter, int]]


def held(model: torch.nn.Module) -> Held:
    """This rank's parameters, each with the number of ranks that hold it or a piece of it.

    Every rank must call.
    """
    own = dict(model.named_parameters())
    names: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(names, list(own))
    ranks = Counter(name for one in names for name in one)
    return [(parameter, ranks[name]) for name, parameter in own.items()]


@torch.no_grad()
def clip(parameters: Held, limit: float, layout: Layout) -> torch.Tensor:
    """Scale all gradients so that their norm is at most `limit`; returns the norm before.

    One sum over all ranks: what several ranks hold alike is counted by each with its share.
    """
    pieces: list[torch.Tensor] = []
    squares = torch.zeros((), device=layout.mesh.device_type)
    for parameter, ranks in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        own = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        pieces.append(own)
        squares += own.float().pow(2).sum() * (_shards(gradient) / ranks)
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
