"""A whole model folder with random weights, made in well under a second, without torch.

For every test that needs a real artifact but not a good model: a two-layer Llama and a byte-level
BPE tokenizer with the sentinels of the `tabwright` family. Its answers are noise, but always the
same for one seed.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tabwright.artifact import ModelArtifact, write_json
from tabwright.fim import FAMILIES

_CORPUS = """\
def add(first, second):
    \"\"\"Return the sum of two numbers.\"\"\"
    return first + second

for i in range(len(items)):
    if items[i] is None or not isinstance(items[i], str):
        raise ValueError(f"item {i} is not a string: {items[i]!r}")
    print(items[i].strip().lower())

class Counter(dict):
    def __init__(self, iterable=None):
        super().__init__()
        self.total = 0
        if iterable is not None:
            self.update(iterable)

function main(argc, argv) { const text = "hello, world\\n"; return console.log(text); }
import os, sys, json, logging; from pathlib import Path
größe = 'naïve café → 東京 🙂'
"""
_VOCAB = 640  # rows of the embedding: a little more than the tokenizer needs, as real models have

Floats = npt.NDArray[np.float32]


def make_tiny_artifact(
    path: Path,
    *,
    name: str = "tiny",
    seed: int = 0,
    tied: bool = True,
    dtype: str = "BF16",
    shards: int = 1,
    max_context: int = 1024,
    order: str = "spm",
    config: Mapping[str, Any] | None = None,
    missing: Collection[str] = (),
    biases: bool = False,
) -> ModelArtifact:
    """Write the artifact folder `path`, which must not exist, and load it.

    tied: the embedding is also the output matrix. dtype: BF16, F16 or F32. config: rows that
    overwrite `config.json`; missing: tensors left out; both for tests of what a reader refuses.
    biases: add those that Qwen2 has.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder)
        write_tiny_checkpoint(
            checkpoint, seed, tied, dtype, shards, max_context, config, missing, biases
        )
        return ModelArtifact.save(
            checkpoint,
            path,
            name=name,
            family="tabwright",
            order=order,
            max_context=max_context,
            lineage={"made_by": "tests/fakes/tiny_artifact.py", "seed": seed},
            validation={},
        )


def write_tiny_checkpoint(
    folder: Path,
    seed: int = 0,
    tied: bool = True,
    dtype: str = "BF16",
    shards: int = 1,
    max_context: int = 1024,
    overrides: Mapping[str, Any] | None = None,
    missing: Collection[str] = (),
    biases: bool = False,
) -> None:
    """Write a plain Hugging Face checkpoint folder; transformers reads it too."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    eos = tokenizer.get_vocab()["<|endoftext|>"]
    config = _config(tied, max_context, eos) | dict(overrides or {})
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"eos_token_id": eos, "do_sample": False})
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"},
    )
    rng = np.random.default_rng(seed)
    weights = dict(_weights(config, rng))
    if biases:
        weights |= dict(_biases(weights, rng))
    for name_missing in missing:
        del weights[name_missing]
    _write_weights(folder, weights, dtype, shards)


def tiny_tokenizer(family: str = "tabwright") -> Tokenizer:
    """Train a byte-level BPE of about 600 ids on a few lines of code."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCAB - 24,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(t, special=True) for t in FAMILIES[family].sentinels],
    )
    tokenizer.train_from_iterator([_CORPUS], trainer)
    return tokenizer


def _config(tied: bool, max_context: int, eos: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCAB,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": max_context,
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": eos,
        "torch_dtype": "bfloat16",
    }


def _weights(config: Mapping[str, Any], rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]

    def matrix(rows: int, columns: int, gain: float = 1.0) -> Floats:
        values = rng.standard_normal((rows, columns), dtype=np.float32)
        return values * np.float32(gain / columns**0.5)

    yield "model.embed_tokens.weight", matrix(config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        yield f"{at}.input_layernorm.weight", np.ones(width, dtype=np.float32)
        yield f"{at}.self_attn.q_proj.weight", matrix(queries, width, 2)
        yield f"{at}.self_attn.k_proj.weight", matrix(keys, width, 2)
        yield f"{at}.self_attn.v_proj.weight", matrix(keys, width, 2)
        yield f"{at}.self_attn.o_proj.weight", matrix(width, queries, 2)
        yield f"{at}.post_attention_layernorm.weight", np.ones(width, dtype=np.float32)
        yield f"{at}.mlp.gate_proj.weight", matrix(inner, width, 2)
        yield f"{at}.mlp.up_proj.weight", matrix(inner, width, 2)
        yield f"{at}.mlp.down_proj.weight", matrix(width, inner, 2)
    yield "model.norm.weight", np.ones(width, dtype=np.float32)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", matrix(config["vocab_size"], width)


def _biases(
    weights: Mapping[str, Floats], rng: np.random.Generator
) -> Iterator[tuple[str, Floats]]:
    for name, matrix in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            bias = rng.standard_normal(len(matrix), dtype=np.float32)
            yield name.removesuffix("weight") + "bias", bias


def _write_weights(folder: Path, weights: dict[str, Floats], dtype: str, shards: int) -> None:
    names = list(weights)
    places: dict[str, str] = {}
    for index in range(shards):
        part = {name: weights[name] for name in names[index::shards]}
        file = (
            "model.safetensors"
            if shards == 1
            else f"model-{index + 1:05}-of-{shards:05}.safetensors"
        )
        write_safetensors(folder / file, part, dtype)
        places |= dict.fromkeys(part, file)
    if shards > 1:
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def write_safetensors(path: Path, tensors: Mapping[str, Floats], dtype: str = "BF16") -> None:
    """Write one safetensors file: length, JSON header, raw little-endian values."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs: list[bytes] = []
    offset = 0
    for name, values in tensors.items():
        blob = _raw(values, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def _raw(values: Floats, dtype: str) -> bytes:
    if dtype == "F32":
        return values.tobytes()
    if dtype == "F16":
        return values.astype(np.float16).tobytes()
    bits = values.view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)  # to nearest, ties to even
    return (rounded >> 16).astype(np.uint16).tobytes()
