"""Tiny checkpoints of other families, as transformers saves them, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fakes.tiny_artifact import tiny_tokenizer

# Architecture → the FIM family of the models that have it.
FAMILY_OF = {
    "LlamaForCausalLM": "granite",
    "MistralForCausalLM": "codestral",
    "Qwen2ForCausalLM": "qwen2.5-coder",
    "Qwen3ForCausalLM": "qwen2.5-coder",
    "Starcoder2ForCausalLM": "starcoder2",
}
_SHAPE = {
    "vocab_size": 640,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}


def make_foreign_checkpoint(folder: Path, architecture: str, **config: Any) -> Path:
    """Write the Hugging Face checkpoint `folder`; `config` overwrites its numbers."""
    import torch
    import transformers

    tokenizer = tiny_tokenizer(FAMILY_OF[architecture])
    settings = getattr(transformers, architecture.replace("ForCausalLM", "Config"))
    torch.manual_seed(len(architecture))
    rope = {"rope_type": "default", "rope_theta": 77_000.0}
    shape = {**_SHAPE, "rope_parameters": rope, "initializer_range": 0.3, **config}
    model = getattr(transformers, architecture)(settings(**shape))
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
