"""Four-bit NormalFloat weights (Dettmers et al. 2023, arXiv 2305.14314) in plain torch.

Each block of 64 weights is divided by its largest magnitude and each weight becomes the nearest of
16 levels, which are quantiles of the normal distribution with an exact zero: eight on the negative
side, nine on the positive, zero shared. Two weights share a byte. Read `quantized`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch

BLOCK = 64
_OFFSET = 0.9677083  # of the outermost quantile, as in the paper's code


class Quantized(NamedTuple):
    """Packed levels (uint8), the largest magnitude of each block, and the shape of the matrix."""

    packed: torch.Tensor
    largest: torch.Tensor
    shape: tuple[int, ...]


@cache
def levels() -> torch.Tensor:
    """The 16 values, ascending from -1 to 1."""
    upper = torch.special.ndtri(torch.linspace(_OFFSET, 0.5, 9, dtype=torch.float64)[:-1])
    lower = -torch.special.ndtri(torch.linspace(_OFFSET, 0.5, 8, dtype=torch.float64)[:-1])
    values = torch.cat([upper, torch.zeros(1, dtype=torch.float64), lower]).sort().values
    return (values / values.abs().max()).float()


def quantized(weight: torch.Tensor) -> Quantized:
    """Round a matrix to levels; its size must be a multiple of the block's."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    largest = blocks.abs().amax(dim=1)
    scaled = blocks / largest.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    table = levels().to(weight.device)
    between = (table[1:] + table[:-1]) / 2
    chosen = torch.bucketize(scaled, between).to(torch.uint8).flatten()
    return Quantized(chosen[0::2] << 4 | chosen[1::2], largest, tuple(weight.shape))


def dequantized(weight: Quantized, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Give the matrix that the levels stand for."""
    chosen = torch.stack([weight.packed >> 4, weight.packed & 15], dim=1).flatten()
    values = levels().to(weight.packed.device)[chosen.int()].reshape(-1, BLOCK)
    return (values * weight.largest[:, None]).reshape(weight.shape).to(dtype)


class Product(torch.autograd.Function):
    """x times a quantised matrix, transposed; the matrix is made again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, packed: torch.Tensor, largest: torch.Tensor,
                rows: int, columns: int) -> torch.Tensor:  # fmt: skip
        """Multiply; only what is packed is kept."""
        ctx.save_for_backward(packed, largest)
        ctx.shape = (rows, columns)
        weight = dequantized(Quantized(packed, largest, ctx.shape), given.dtype)
        return given @ weight.T

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradient of what was given; the matrix has none."""
        packed, largest = ctx.saved_tensors
        weight = dequantized(Quantized(packed, largest, ctx.shape), grads[0].dtype)
        return grads[0] @ weight, None, None, None, None
