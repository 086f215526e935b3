"""A run's checkpoint becomes the artifact that is served.

Weights are written in bf16, the config carries both spellings of the rotary base, so that
transformers 4.57 and 5.x read the same model, and the lineage says which data, config, commit and
packages made it.
"""

from __future__ import annotations

import json
import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalkit.contamination import FILE as CONTAMINATION
from tabwright.artifact import ModelArtifact, write_json
from tabwright.errors import ConfigError, CorruptArtifact
from tabwright.tokenizer import Tokenizer
from training.checkpoint import WEIGHTS, check_checkpoint
from training.data.shards import read_manifest
from training.export.portable import portable_config
from training.export.weights import check_weights, tensor_table, write_bf16
from training.lineage import commit

logger = logging.getLogger(__name__)
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def export_artifact(checkpoint: Path, data: Path, out: Path, *, name: str) -> ModelArtifact:
    """Publish `checkpoint` (a `step-N` folder) as the artifact `out`.

    Raises:
        CorruptArtifact: the checkpoint was altered, or a weight is not finite.
        ConfigError: `out` exists, or the checkpoint holds an adapter instead of a model.
    """
    check_checkpoint(checkpoint)
    if any(".lora_" in name for name in tensor_table([checkpoint / "model" / WEIGHTS])):
        raise ConfigError(
            f"{checkpoint.name} is of a run that trained an adapter: write it with "
            "`tabwright train adapter`, put it into its base with `tabwright train merge`"
        )
    config = json.loads((checkpoint / "model" / "config.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(checkpoint / "model" / "tokenizer.json")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        weights = [checkpoint / "model" / "model.safetensors"]
        check_weights(weights)
        parameters = write_bf16(weights, folder)
        write_json(folder / "config.json", portable_config(config))
        eos = config["eos_token_id"]
        write_json(
            folder / "generation_config.json",
            {"eos_token_id": [eos], "pad_token_id": eos, "do_sample": False},
        )
        (folder / "tokenizer.json").write_bytes(
            (checkpoint / "model" / "tokenizer.json").read_bytes()
        )
        end = next(t for t in ("<|endoftext|>",) if tokenizer.token_id(t) == eos)
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": end,
                "pad_token": end,
                "clean_up_tokenization_spaces": False,
                "model_max_length": config["max_position_embeddings"],
            },
        )
        if (data / CONTAMINATION).is_file():
            (folder / CONTAMINATION).write_bytes((data / CONTAMINATION).read_bytes())
        return ModelArtifact.save(
            folder,
            out,
            name=name,
            family="tabwright",
            order="spm",
            max_context=config["max_position_embeddings"],
            lineage=_lineage(checkpoint, data, parameters),
            validation={"level": "digests", "checks": ["finite weights", "sentinels single-id"]},
        )


def _lineage(checkpoint: Path, data: Path, parameters: int) -> dict[str, Any]:
    manifest = read_manifest(data)
    stages = _stages(checkpoint)
    return {
        "parameters": parameters,
        "tokens": sum(stage["tokens"] for stage in stages),
        "stages": stages,
        "data_splits": manifest["splits"],
        "sources": manifest["sources"],
        "commit": commit(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _stages(checkpoint: Path) -> list[dict[str, Any]]:
    """The runs that made these weights, oldest first: each began where the one before ended."""
    folder = checkpoint.parent.parent
    step = check_checkpoint(checkpoint)
    run = json.loads((folder / "run.json").read_text("utf-8"))
    rows = [json.loads(r) for r in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    seen = {row["step"]: row for row in rows if row["step"] <= step}  # a resumed run repeats some
    losses = [row["held_out_loss"] for row in seen.values() if "held_out_loss" in row]
    before = run.get("init_from")
    if before and not Path(before).is_dir():
        raise CorruptArtifact(f"{folder.name} began at {before}, which is gone: lineage is unknown")
    return [
        *(_stages(Path(before)) if before else []),
        {
            "steps": step,
            "tokens": sum(row["tokens"] for row in seen.values()),
            "held_out_loss": losses[-1] if losses else None,
            "config": run["config"],
            "data_digest": run["data"],
        },
    ]
