"""The model: a Hugging Face Llama, so that its checkpoint loads everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabwright.fim import FimFormat
from training.config import ModelSection

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def build_model(shape: ModelSection, vocab_size: int, fim: FimFormat) -> LlamaForCausalLM:
    """Create a randomly initialised model with tied embeddings (seed torch first)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=fim.stop_ids[0],
        pad_token_id=fim.stop_ids[0],
    )
    return LlamaForCausalLM(config)
