"""The numbers of a Llama-shaped `config.json`, and the refusal of whatever is not one.

Imports nothing heavy, so that the gateway can refuse a model before it starts a process for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tabwright.errors import ConfigError

ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM")


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The numbers of `config.json` that the graph depends on."""

    vocab: int
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    tied: bool

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> LlamaShape:
        """Check a `config.json` and pick what matters.

        Raises:
            ConfigError: the architecture, or a variant of it, is not covered here.
        """
        try:
            _refuse_variants(config)
            heads = int(config["num_attention_heads"])
            width = int(config["hidden_size"])
            shape = cls(
                vocab=int(config["vocab_size"]),
                width=width,
                inner=int(config["intermediate_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or width // heads),
                rope_theta=float(_rope(config)["rope_theta"]),
                norm_eps=float(config["rms_norm_eps"]),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise ConfigError(f"config.json: {error!r}") from error
        shape._check()
        return shape

    def _check(self) -> None:
        counts = (self.vocab, self.width, self.inner, self.layers, self.heads, self.kv_heads)
        if min(*counts, self.head_dim) < 1:
            raise ConfigError("config.json: every size and count must be positive")
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise ConfigError(
                "config.json: heads do not divide into key-value heads, or odd head_dim"
            )
        if not (self.rope_theta > 0 and self.norm_eps >= 0):  # also false for NaN
            raise ConfigError("config.json: rope_theta and rms_norm_eps must be positive")

    @property
    def kv_values_per_token(self) -> int:
        """Numbers that the key-value cache keeps for one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rotary settings: in `rope_parameters` since transformers 5, at the top level before."""
    nested = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {"rope_theta": config.get("rope_theta", 10000.0)} | dict(nested)


def _refuse_variants(config: Mapping[str, Any]) -> None:
    names = config.get("architectures") or ["none"]
    if names[0] not in ARCHITECTURES:
        raise ConfigError(
            f"the cpu engine cannot run {names[0]}; it runs {' and '.join(ARCHITECTURES)}"
        )
    rope = _rope(config)
    kind = rope.get("rope_type", rope.get("type", "default"))
    partial = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if kind != "default" or partial != 1.0:
        raise ConfigError(f"config.json: rope scaling {kind!r} is not covered by the cpu engine")
    if config.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"config.json: hidden_act {config['hidden_act']!r} is not covered")
    if config.get("use_sliding_window"):
        raise ConfigError("config.json: use_sliding_window is not covered by the cpu engine")
