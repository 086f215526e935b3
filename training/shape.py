"""How many parameters a decoder has, and how much arithmetic a token of training costs.

Knows numbers only, no library, so plans are made where torch is not installed. Biases and the
scales of query and key norms are left out: they are below 0.1 % of any model here. Read `Shape`.

FLOPs of a token, forward and backward: 6 N + 12 L a T, with N the parameters that are multiplied
(a table that is only looked up is not), L layers, a the width of all heads together, T the context
(Chowdhery et al. 2022, arXiv 2204.02311, appendix B). As there, attention counts in full although
a causal mask needs half of it; so figures compare with those that others publish.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMULA = "6 N + 12 L a T FLOPs a token, over seconds and peak"


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides size and cost. `tied`: the output layer is the table of embeddings."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocab: int
    head_size: int = 0
    gated: bool = True
    tied: bool = True

    @property
    def heads_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * (self.head_size or self.hidden // self.heads)

    @property
    def kv_width(self) -> int:
        """Width of all keys, which is that of all values."""
        return self.heads_width // self.heads * self.kv_heads

    @property
    def block_matrices(self) -> int:
        """Parameters of one block's matrices."""
        attention = 2 * self.hidden * (self.heads_width + self.kv_width)
        return attention + (3 if self.gated else 2) * self.hidden * self.inner

    @property
    def block(self) -> int:
        """Parameters of one block, its two norms included."""
        return self.block_matrices + 2 * self.hidden

    @property
    def table(self) -> int:
        """Parameters of the table of embeddings."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.block + self.table * (1 if self.tied else 2) + self.hidden

    @property
    def multiplied(self) -> int:
        """Parameters that a token is multiplied with: all but a table that is only looked up."""
        return self.parameters - (0 if self.tied else self.table)

    def flops_per_token(self, context: int) -> int:
        """Forward and backward, without recomputation."""
        return flops_per_token(self.multiplied, self.layers, self.heads_width, context)


def flops_per_token(multiplied: int, layers: int, heads_width: int, context: int) -> int:
    """6 N + 12 L a T, as the module says."""
    return 6 * multiplied + 12 * layers * heads_width * context
