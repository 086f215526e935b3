"""An exponential average of the weights, kept beside them in the same layout."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Average:
    """Weights averaged over the steps; the first ones count as the start."""

    def __init__(self, named: Iterable[tuple[str, torch.Tensor]], decay: float) -> None:
        """Begin at the parameters as they are."""
        self._decay = decay
        self._parameters = dict(named)
        self.tensors = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move a share of the way to the parameters."""
        for name, parameter in self._parameters.items():
            self.tensors[name].lerp_(parameter.detach(), 1 - self._decay)
