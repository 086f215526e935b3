"""The model: a Hugging Face causal model, so that its checkpoint loads everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabwright.errors import ConfigError
from tabwright.fim import FimFormat
from training.config import ModelSection

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What an architecture needs besides its shape: no dropout, and full attention.
_EXTRAS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "starcoder2": {"residual_dropout": 0.0, "embedding_dropout": 0.0, "sliding_window": None},
}


def build_model(shape: ModelSection, vocab_size: int, fim: FimFormat) -> PreTrainedModel:
    """Create the model of `shape`, random (seed torch first) or with its checkpoint's weights.

    Raises:
        ConfigError: the checkpoint has fewer embeddings than the tokenizer has ids.
    """
    if shape.checkpoint is not None:
        return _pretrained(shape.checkpoint, vocab_size)
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        shape.architecture,
        vocab_size=vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden_size // shape.heads,
        max_position_embeddings=shape.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=fim.stop_ids[0],
        pad_token_id=fim.stop_ids[0],
        **_EXTRAS[shape.architecture],
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return model


def _pretrained(folder: Path, vocab_size: int) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.config.use_cache = False
    if model.config.vocab_size < vocab_size:
        raise ConfigError(
            f"model.checkpoint: {folder} has {model.config.vocab_size} embeddings, the shards' "
            f"tokenizer {vocab_size} ids; make the shards with the checkpoint's tokenizer "
            "([tokenizer] file in data.toml)"
        )
    return model
