"""The likeliest ids after a prompt, one after the other, from a model on one rank or on several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor

from training.scoring import passed
from training.stages import Passed

if TYPE_CHECKING:
    from training.run import Run

# Ids of a prompt in; what follows comes out for as long as it is asked for.
Continue = Callable[[Sequence[int]], Iterator[int]]


def continuing(run: Run) -> Continue:
    """Of the model of a run; every rank must ask, and ask the same."""
    if not _shared(run.model):
        return with_cache(run.model, run.device)
    return _in_whole_passes(run)


def with_cache(model: Any, device: torch.device) -> Continue:
    """Of a model that this rank holds whole."""

    @torch.no_grad()
    def answer(ids: Sequence[int]) -> Iterator[int]:
        feed, cache = torch.tensor([list(ids)], device=device), None
        while True:
            out: Any = model(input_ids=feed, past_key_values=cache, use_cache=True)
            chosen = int(out.logits[0, -1].argmax())
            yield chosen
            feed, cache = torch.tensor([[chosen]], device=device), out.past_key_values

    return answer


def _in_whole_passes(run: Run) -> Continue:
    """Of parts on several ranks, which each id brings together: what they keep is not one cache."""

    @torch.no_grad()
    def answer(ids: Sequence[int]) -> Iterator[int]:
        known = list(ids)
        while True:
            likeliest_B = passed(run.scored, torch.tensor([known], device=run.device), None)
            # Ranks that went on from different ids would wait for each other.
            known.append(int(run.layout.agreed(likeliest_B)))
            yield known[-1]

    return answer


def _shared(model: Any) -> bool:
    """Whether other ranks hold a part of it; then only a whole pass brings the parts together."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters()) or any(
        isinstance(part, Passed) for part in model.modules()
    )
