"""Which optimizer moves which parameter, and how fast at each step.

Muon (Jordan et al. 2024; the scaling that matches AdamW's step is Liu et al., arXiv 2502.16982)
orthogonalises the updates of the blocks' matrices; embeddings, head and norms take AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from training.config import OptimizerSection, ScheduleSection

if TYPE_CHECKING:
    import torch


class Optimizer:
    """One or two torch optimizers that step together."""

    def __init__(
        self, named: Iterable[tuple[str, torch.nn.Parameter]], config: OptimizerSection
    ) -> None:
        """Split the parameters by their role; frozen ones have none."""
        import torch

        from training.muon import Muon

        self._names: dict[torch.nn.Parameter, str] = {}
        matrices: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for name, parameter in named:
            if not parameter.requires_grad:
                continue
            self._names[parameter] = name
            inner = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
            (matrices if inner else rest).append(parameter)
        betas = (0.9, 0.95)
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        if rest:  # adapters have matrices only
            rate = config.embedding_lr
            adamw = torch.optim.AdamW(rest, rate, betas, weight_decay=0.0, fused=True)
            self._parts.append((adamw, rate))
        if config.name == "muon":
            muon = Muon(matrices, config.lr, weight_decay=config.weight_decay)
            self._parts.append((muon, config.lr))
        else:
            decay = config.weight_decay
            adamw = torch.optim.AdamW(matrices, config.lr, betas, weight_decay=decay, fused=True)
            self._parts.append((adamw, config.lr))

    def step(self, share: float) -> None:
        """Update all parameters at `share` of the peak rates and drop the gradients."""
        for part, peak in self._parts:
            for group in part.param_groups:
                group["lr"] = peak * share
            part.step()
        self.forget()

    def forget(self) -> None:
        """Drop the gradients."""
        for part, _ in self._parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """State of every parameter under its name; what no step has made yet is made, as zeros."""
        import torch

        named: dict[str, torch.Tensor] = {}
        for part, _ in self._parts:
            fields = _FIELDS[type(part).__name__]
            for parameter in (p for group in part.param_groups for p in group["params"]):
                state = part.state[parameter]
                if not state:
                    state.update({field: torch.zeros_like(parameter) for field in fields})
                    if fields is _FIELDS["AdamW"]:
                        state["step"] = torch.tensor(0.0)
                named |= {f"{self._names[parameter]}.{key}": state[key] for key in state}
        return named


# What each optimizer keeps of a parameter, of the parameter's shape.
_FIELDS = {"AdamW": ("exp_avg", "exp_avg_sq"), "Muon": ("momentum_buffer",)}


def rate_share(step: int, schedule: ScheduleSection) -> float:
    """Share of the peak rates at `step`: linear warm-up, then half a cosine."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    done = (step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
    cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return schedule.final_share + (schedule.start_share - schedule.final_share) * cosine
