"""The JSON files of a checkpoint in words that transformers 4.57 and 5.x understand alike.

A file saved by one and read by the other loads without an error and is another model: the rotary
base falls back to 10000, its scaling is dropped, a list of special tokens breaks the tokenizer. So
everything is written in both spellings. Weights are `weights.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError
from tabwright.fim import FimFormat

OLD_KEYS = ("rope_theta", "rope_scaling", "torch_dtype")
NEW_KEYS = ("rope_parameters", "dtype")
_NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")


def portable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with both key sets, for bf16 weights.

    Raises:
        ConfigError: the rotary settings are of a kind that one of the spellings cannot say.
    """
    rope = _rope(config)
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    scaled = scaling.get("rope_type", "default") != "default"
    out = {k: v for k, v in config.items() if k not in ("transformers_version", "auto_map")}
    out |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": scaling if scaled else None,
        "rope_parameters": rope,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
        "use_cache": True,
    }
    return out


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    nested = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if any(isinstance(value, dict) for value in nested.values()):
        raise ConfigError("config.json: rotary settings that differ by layer cannot be exported")
    theta = nested.get("rope_theta", config.get("rope_theta"))
    if not isinstance(theta, int | float) or theta <= 0:
        raise ConfigError(f"config.json: rope_theta is {theta!r}; give the model's rotary base")
    kind = nested.pop("type", None)
    return {"rope_type": kind or "default"} | nested | {"rope_theta": theta}


def generation_config(config: Mapping[str, Any], fim: FimFormat) -> dict[str, Any]:
    """Greedy by default, with every id that ends an answer."""
    stops = dict.fromkeys([*fim.stop_ids, *_listed(config.get("eos_token_id"))])
    pad = fim.ids.get(fim.family.pad or "", fim.stop_ids[0])
    return {"eos_token_id": list(stops), "pad_token_id": pad, "do_sample": False}


def tokenizer_config(
    source: Path, fim: FimFormat, max_context: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`tokenizer_config.json` and `special_tokens_map.json`, without what only 5.x reads."""
    file = source / "tokenizer_config.json"
    before = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    named = {key: text for key in _NAMED if (text := _content(before.get(key)))}
    named.setdefault("eos_token", fim.family.stop[0])
    named.setdefault("pad_token", named["eos_token"])
    extra = [text for text in fim.family.sentinels if text not in named.values()]
    special: dict[str, Any] = named | {"additional_special_tokens": extra}
    config = special | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_context,
    }
    return config, special


def _content(token: object) -> str | None:
    """Text of a token, which may be written as an object."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _listed(value: Any) -> Iterable[int]:
    if value is None:
        return []
    return value if isinstance(value, list) else [int(value)]
