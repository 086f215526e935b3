"""What is exported: one of our artifacts, or a Hugging Face checkpoint with a FIM family.

Everything that a GPU node would choke on, or worse, serve wrongly, is refused here, before the
export writes a byte. Read `read_source` first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabwright.artifact import MANIFEST, ModelArtifact
from tabwright.errors import ConfigError, CorruptArtifact
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.export.weights import check_weights

# What TensorRT-LLM 1.2's PyTorch backend runs, of the dense shapes that code models have.
ARCHITECTURES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Starcoder2ForCausalLM",
)

# Texts that tokenizers are known to mangle: line ends, blanks, other scripts, sentinels as text.
CORPUS = (
    "def add(a, b):\n\treturn a + b\n",
    "if x:\r\n    y = 1\r\n",
    "  two\n    four\n\n\n        eight   \n",
    "naïve = 'größe'  # Ærøskøbing\n",
    "print('東京都', '한국어', 'العربية')\n",
    "smile = '🙂👩‍👩‍👧'\n",
    "text = '<|endoftext|><fim_prefix><file_sep>'\n",
    "a\u00a0b\u200bc\u2028d\n",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A model that may be exported.

    digest: of the artifact it was read from; None for a foreign checkpoint.
    """

    path: Path
    name: str
    digest: str | None
    config: Mapping[str, Any] = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    fim: FimFormat = field(repr=False)
    max_context: int
    lineage: Mapping[str, Any] = field(repr=False)

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files, sorted by name."""
        return tuple(sorted(self.path.glob("*.safetensors")))


def read_source(
    path: Path,
    *,
    name: str | None = None,
    family: str | None = None,
    order: str | None = None,
    max_context: int | None = None,
    tensor_parallel: int = 1,
) -> Source:
    """Read a model folder and check all of it.

    Raises:
        ConfigError: no such folder, an architecture that TensorRT-LLM does not run, a sentinel the
            tokenizer lacks, a tokenizer that does not round-trip, heads that do not divide.
        CorruptArtifact: a file is missing or altered, or a weight is not finite.
    """
    if not path.is_dir():
        raise ConfigError(f"--artifact {path}: no such folder")
    if (path / MANIFEST).is_file():
        if family or order or max_context:
            raise ConfigError(
                f"--artifact {path} is an artifact, which says its own family, order and context; "
                "leave the options out"
            )
        source = _from_artifact(ModelArtifact.load(path), name)
    else:
        source = _from_checkpoint(path, name, family, order, max_context)
    check_architecture(source.config)
    check_heads(source.config, tensor_parallel)
    _check_round_trip(source.tokenizer)
    if not source.weight_files:
        raise CorruptArtifact(f"{path.name}: no .safetensors file")
    check_weights(source.weight_files)
    return source


def _from_artifact(artifact: ModelArtifact, name: str | None) -> Source:
    return Source(
        path=artifact.path,
        name=name or artifact.name,
        digest=artifact.digest,
        config=artifact.config,
        tokenizer=artifact.tokenizer,
        fim=artifact.fim,
        max_context=artifact.max_context,
        lineage=artifact.lineage,
    )


def _from_checkpoint(
    path: Path, name: str | None, family: str | None, order: str | None, max_context: int | None
) -> Source:
    if family is None:
        raise ConfigError(f"--artifact {path} has no {MANIFEST}: say its FIM family with --family")
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
        positions = int(config["max_position_embeddings"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CorruptArtifact(f"{path.name}/config.json: {error!r}") from error
    tokenizer = Tokenizer.from_file(path / "tokenizer.json")
    return Source(
        path=path,
        name=name or path.resolve().name,
        digest=None,
        config=config,
        tokenizer=tokenizer,
        fim=FimFormat.bind(family, tokenizer, order),
        max_context=max_context or positions,
        lineage={"checkpoint": path.resolve().name},
    )


def check_architecture(config: Mapping[str, Any]) -> None:
    """Refuse what TensorRT-LLM 1.2 does not run.

    Raises:
        ConfigError: another architecture, or weights that are quantised already.
    """
    names = config.get("architectures") or ["none"]
    if names[0] not in ARCHITECTURES:
        raise ConfigError(
            f"config.json: architecture {names[0]} is not exported; TensorRT-LLM 1.2 runs "
            f"{', '.join(ARCHITECTURES)}"
        )
    if config.get("quantization_config"):
        raise ConfigError(
            "config.json: the checkpoint is quantised already; export the original model"
        )


def check_heads(config: Mapping[str, Any], tensor_parallel: int) -> None:
    """Refuse heads that cannot be shared out evenly.

    Raises:
        ConfigError: a number of heads is not divisible by `tensor_parallel`.
    """
    if tensor_parallel < 1:
        raise ConfigError(f"--tp {tensor_parallel}: give at least 1")
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    for key, count in (("num_attention_heads", heads), ("num_key_value_heads", kv_heads)):
        if count % tensor_parallel:
            raise ConfigError(
                f"--tp {tensor_parallel}: {key} {count} is not divisible by it; choose a divisor"
            )


def _check_round_trip(tokenizer: Tokenizer) -> None:
    for text in CORPUS:
        if (back := tokenizer.decode(tokenizer.encode(text))) != text:
            raise ConfigError(
                f"tokenizer.json: {text!r} comes back as {back!r}; a tokenizer that changes "
                "code cannot be served"
            )
