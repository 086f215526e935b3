"""The first half of a training configuration that runs in seconds; tests add the schedule."""

from __future__ import annotations

TINY_RUN = """
[model]
hidden_size = 32
layers = 2
heads = 2
kv_heads = 1
intermediate_size = 64
max_positions = 128
[data]
context = 128
batch_rows = 4
micro_rows = 2
[optimizer]
lr = 0.01
embedding_lr = 0.01
"""
