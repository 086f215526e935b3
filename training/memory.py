"""How much memory one GPU needs, by how the model is spread over the GPUs.

An estimate of tensors that training keeps: weights in 32 bits, their gradients, the optimizer's
states, 16-bit copies while the pass runs, and what autograd keeps for the way back. The last was
counted in eager mode on the trainer's own blocks (a test counts again); a compiled pass keeps less.
Fragments of the allocator and buffers of the network are not in it. Read `memory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.shape import Shape

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, slots=True)
class Spread:
    """How a model lies on GPUs: copies x tensor x pipeline of them, `sharded` over the copies."""

    name: str
    copies: int = 1
    tensor: int = 1
    pipeline: int = 1
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What one GPU computes at a time, and how; of a step all compute `batch_rows`, if known."""

    micro_rows: int
    context: int
    precision: Precision = "bf16"
    optimizer: Literal["adamw", "muon"] = "adamw"
    batch_rows: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on the fullest GPU."""

    weights: int
    gradients: int
    optimizer: int
    working: int
    activations: int
    activations_recomputed: int

    def total(self, *, recompute: bool) -> int:
        """All of it, with or without recomputing each block on the way back."""
        kept = self.activations_recomputed if recompute else self.activations
        return self.weights + self.gradients + self.optimizer + self.working + kept


def memory(shape: Shape, spread: Spread, work: Work) -> Memory:
    """Bytes on the fullest GPU: of a pipeline the first stage or the last."""
    # The first stage holds as many micro-batches as there are stages, the last one only one.
    stages = [_stage(shape, spread, work, batches=1, head=True)]
    if spread.pipeline > 1:
        stages.append(_stage(shape, spread, work, batches=spread.pipeline, head=False))
    return max(stages, key=lambda stage: stage.total(recompute=False))


def states_per_parameter(shape: Shape, optimizer: str) -> float:
    """Bytes of optimizer state: two moments of AdamW, or one of Muon for the blocks' matrices."""
    matrices = shape.layers * shape.block_matrices
    return 8 - (4 * matrices / shape.parameters if optimizer == "muon" else 0)


def _stage(shape: Shape, spread: Spread, work: Work, *, batches: int, head: bool) -> Memory:
    layers = -(-shape.layers // spread.pipeline)
    matrices = layers * shape.block_matrices / spread.tensor
    tables = shape.table * (2 if spread.pipeline == 1 and not shape.tied else 1)
    held = matrices + (2 * layers + head) * shape.hidden + tables
    share = spread.copies if spread.sharded else 1
    states = 8 * held - (4 * matrices if work.optimizer == "muon" else 0)
    block = _kept_by_block(shape, work.precision, spread.tensor)
    tokens = work.micro_rows * work.context
    # Recomputed: the 32-bit input of every block, and one block whole.
    inputs, logits = 4 * shape.hidden, _logits(shape, work.precision) if head else 0
    return Memory(
        weights=int(4 * held / share),
        gradients=int(4 * held / share),
        optimizer=int(states / share),
        working=int(_working(shape, spread, work, held)),
        activations=tokens * (batches * layers * block + logits),
        activations_recomputed=tokens * (batches * layers * inputs + block + logits),
    )


def _working(shape: Shape, spread: Spread, work: Work, held: float) -> float:
    """Copies of weights for the pass: all in 16 bits, or of two blocks where they are sharded."""
    if not spread.sharded:
        return 2 * held if work.precision == "bf16" else 0
    width = 2 if work.precision == "bf16" else 4
    largest = max(shape.block / spread.tensor, shape.table)
    return width * (2 * shape.block / spread.tensor + largest)


def _kept_by_block(shape: Shape, precision: Precision, tensor: int) -> int:
    """Bytes a token that autograd keeps of one block, attention's matrix not among them."""
    inner, heads = shape.inner * (4 if shape.gated else 2), shape.heads
    wide, keys = shape.heads_width, shape.kv_width
    if precision == "bf16":  # norms and residuals in 32 bits, and a 16-bit copy for each matrix
        split = 2 * (2 * wide + 2 * keys + inner) + 4 * heads
        return 26 * shape.hidden + split // tensor + 8
    return 24 * shape.hidden + 4 * (2 * wide + 2 * keys + inner + heads) // tensor + 8


def _logits(shape: Shape, precision: Precision) -> int:
    """Bytes a token of the logits, their logarithms and their gradients."""
    return (10 if precision == "bf16" else 12) * shape.vocab
