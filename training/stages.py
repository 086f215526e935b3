"""Cut a model into the stages of a pipeline. Read `cut`.

Each stage is the model itself with what other stages hold replaced by parts that pass on what they
are given, so that names of parameters stay what they are and a checkpoint fits any layout.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any

import torch


class Passed(torch.nn.Module):
    """Stands where another stage holds a part: what comes in goes on."""

    def __init__(self, part: Any) -> None:
        """Take over what a model asks of `part` besides calling it."""
        super().__init__()
        self.attention_type = getattr(part, "attention_type", None)

    def forward(self, states: torch.Tensor, *_more: Any, **_named: Any) -> torch.Tensor:
        """What came in."""
        return states


def cut(model: Any, own: Sequence[int], stages: int) -> list[Any]:
    """The stages `own` of `model`, whose layers are cut into so many; `model` keeps what they hold.

    The first stage holds the embeddings, the last one norm and head, and a tied table lies on both.
    """
    each = len(model.model.layers) // stages
    found = []
    for stage in own:
        part = _with_own_places(model)
        _keep(part, range(stage * each, (stage + 1) * each), stage == 0, stage == stages - 1)
        found.append(part)
    layers = [layer for stage in own for layer in range(stage * each, (stage + 1) * each)]
    _keep(model, layers, 0 in own, stages - 1 in own)
    return found


def _with_own_places(model: Any) -> Any:
    """A copy whose parts are those of `model`, but may be replaced."""
    inner = model.model
    parts = (model.config, model.lm_head, inner.embed_tokens, inner.norm, inner.rotary_emb)
    return deepcopy(model, {id(part): part for part in (*parts, *inner.layers)})


def _keep(model: Any, layers: Collection[int], first: bool, last: bool) -> None:
    """Replace all parts of `model` but these."""
    inner = model.model
    for number, layer in enumerate(inner.layers):
        if number not in layers:
            inner.layers[number] = Passed(layer)
    if not first:
        # Starcoder2 drops a share of what goes into its first layer.
        inner.embedding_dropout = 0.0
    if not (first or (last and model.config.tie_word_embeddings)):
        inner.embed_tokens = Passed(inner.embed_tokens)
    if not last:
        inner.norm, model.lm_head = Passed(inner.norm), Passed(model.lm_head)
