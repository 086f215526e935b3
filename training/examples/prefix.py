"""Prefix-LM: a text's beginning is given, and its continuation alone is learnt.

The mask that this asks for is that of `Example`: the prefix is silent, so it carries no loss, and
it is named, so that a model that can may let its ids see each other in both directions
(`training/attention.py`). Llama as it is served here sees to the left only, so by default the
loss mask is all there is of the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from training.examples.example import Example


def continued(
    window: Sequence[int], header: Sequence[int], end: Sequence[int], rng: Random
) -> Example:
    """Cut `window`, which has two ids or more, anywhere; `end`: what stands after it."""
    cut = len(header) + rng.randrange(1, len(window))
    return Example([*header, *window, *end], ((0, cut),), (0, cut))
