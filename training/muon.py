"""Muon: momentum whose update is made orthogonal, also for matrices that several ranks share.

Jordan et al. 2024; the step's size is that of Liu et al., arXiv 2502.16982. A shared matrix is
put together for the orthogonalising, which needs all of it, and each rank keeps its piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Decoupled weight decay, Nesterov momentum, updates of the size AdamW's have."""

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter],
        lr: float,
        *,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        """Take two-dimensional parameters."""
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        if closure is not None:
            raise NotImplementedError("Muon takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["weight_decay"], group["momentum"])

    def _move(
        self, parameter: torch.Tensor, lr: float, weight_decay: float, momentum: float
    ) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - momentum)
        update = torch.lerp(gradient, buffer, momentum)
        whole = update.full_tensor() if isinstance(update, DTensor) else update
        direction = own_piece(orthogonal(whole), parameter)
        rate = lr * 0.2 * max(parameter.shape) ** 0.5
        own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        own.mul_(1 - lr * weight_decay).add_(direction, alpha=-rate)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Matrix with about the same singular vectors and singular values near 1, in bf16."""
    a, b, c = _COEFFICIENTS
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16().T if tall else matrix.bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def own_piece(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The piece of `whole` that this rank holds of `like`."""
    if not isinstance(like, DTensor):
        return whole
    mesh, piece = like.device_mesh, whole
    # The last dimension of the mesh was cut first: rows of a matrix that is shared already.
    for number in reversed(range(mesh.ndim)):
        placement = like.placements[number]
        if not placement.is_replicate():
            size, at = mesh.size(number), mesh.get_local_rank(number)
            dim: int = placement.dim  # type: ignore[attr-defined]
            chunk = -(-piece.size(dim) // size)
            start = min(at * chunk, piece.size(dim))
            piece = piece.narrow(dim, start, min(chunk, piece.size(dim) - start))
    return piece
