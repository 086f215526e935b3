"""Spread a model over the ranks: stages, shared matrices, recomputed activations, shards.

The order matters: what other stages hold goes first, then a layer's matrices are cut, what it
recomputes lies inside what is compiled, and sharding comes last, around all of it. Names of
parameters stay what they are, so a checkpoint fits any layout. Read `spread`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from tabwright.errors import ConfigError
from training.config import TrainConfig
from training.layout import MATRICES, ROWS, Layout
from training.pipeline import Pipeline, sent
from training.scoring import Scored
from training.stages import Passed, cut

# Matrices of a layer by what they do: those that a rank holds rows of, and those it holds columns
# of and whose results are summed.
_CUT_ROWS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
             "mlp.gate_proj", "mlp.up_proj", "mlp.c_fc")  # fmt: skip
_CUT_COLUMNS = ("self_attn.o_proj", "mlp.down_proj", "mlp.c_proj")
# Norms of single heads: each rank sees its heads only, so their gradients are summed.
_HEAD_NORMS = ("self_attn.q_norm", "self_attn.k_norm")
_HEADS_DIM = 2


def spread(scored: Scored, layout: Layout, config: TrainConfig) -> Any:
    """Spread the model in place; returns what is called for a loss.

    Raises:
        ConfigError: the matrices cannot be shared evenly, or the GPU has no fp8.
    """
    model, parallel = scored.model, config.parallel
    if config.run.precision == "fp8":
        _to_fp8(model)
    parts = [scored] if parallel.pipeline == 1 else _stages(model, layout, config)
    layers = [layer for layer in model.model.layers if not isinstance(layer, Passed)]
    if layout.tensor > 1:
        _share_matrices(model, layers, layout)
    if parallel.recompute:
        for layer in layers:
            layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
    if config.run.compile and (parallel.strategy == "fsdp" or parallel.pipeline > 1):
        for layer in layers:
            layer.compile()
    if parallel.strategy == "fsdp":
        _shard([*layers, *parts], layout, bf16=config.run.precision != "fp32")
    if parallel.pipeline > 1:
        return Pipeline(model, parts, layout, config)
    if parallel.strategy == "fsdp":
        return scored
    replica: Any = scored
    if layout.row_ranks > 1:
        replica = DistributedDataParallel(scored, broadcast_buffers=False)
    return torch.compile(replica) if config.run.compile else replica


def _stages(model: Any, layout: Layout, config: TrainConfig) -> list[Scored]:
    """Those of this rank; `model` keeps what they hold."""
    parallel = config.parallel
    own = range(dist.get_rank(layout.stages), parallel.stages, parallel.pipeline)
    kind = sent(config)
    return [
        Scored(part, config.run.precision, None if number == parallel.stages - 1 else kind)
        for number, part in zip(own, cut(model, own, parallel.stages), strict=True)
    ]


def _share_matrices(model: Any, layers: Sequence[Any], layout: Layout) -> None:
    config, ranks = model.config, layout.tensor
    for key in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
        if getattr(config, key) % ranks:
            raise ConfigError(
                f"parallel.tensor ({ranks}) must divide {key} ({getattr(config, key)})"
            )
    mesh = layout.mesh[MATRICES]
    for layer in layers:
        names = {name for name, _ in layer.named_modules()}
        plan: dict[str, ParallelStyle] = {
            **{name: ColwiseParallel() for name in _CUT_ROWS if name in names},
            **{name: RowwiseParallel() for name in _CUT_COLUMNS if name in names},
            **{name: _PerHead(sequence_dim=_HEADS_DIM) for name in _HEAD_NORMS if name in names},
        }
        parallelize_module(layer, mesh, plan)
    vocabulary: dict[str, ParallelStyle] = {
        "model.embed_tokens": RowwiseParallel(input_layouts=Replicate()),
        "lm_head": ColwiseParallel(output_layouts=Replicate()),
    }
    held = {name for name, part in model.named_modules() if not isinstance(part, Passed)}
    parallelize_module(model, mesh, {name: vocabulary[name] for name in held & vocabulary.keys()})
    if config.tie_word_embeddings and "lm_head" in held:
        model.lm_head.weight = model.model.embed_tokens.weight


class _PerHead(SequenceParallel):
    """A norm over each head's numbers where every rank holds some of the heads."""

    def __init__(self, *, sequence_dim: int) -> None:
        super().__init__(sequence_dim=sequence_dim, use_local_output=True)


def _shard(parts: Sequence[Any], layout: Layout, *, bf16: bool) -> None:
    """Share the parameters of each part that no part before it has."""
    policy = (
        MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if bf16
        else MixedPrecisionPolicy()
    )
    for part in parts:
        fully_shard(part, mesh=layout.mesh[ROWS], mp_policy=policy)


def _to_fp8(model: Any) -> None:
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
        raise ConfigError('run.precision "fp8" needs a GPU of compute capability 8.9; use "bf16"')
    try:
        from torchao.float8 import convert_to_float8_training
    except ModuleNotFoundError as error:
        raise ConfigError('run.precision "fp8" needs torchao; pip install torchao') from error

    def wanted(module: Any, name: str) -> bool:
        """Matrices of the blocks whose sides fp8 kernels take."""
        return "lm_head" not in name and all(side % 16 == 0 for side in module.weight.shape)

    convert_to_float8_training(model, module_filter_fn=wanted)
