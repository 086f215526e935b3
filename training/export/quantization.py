"""A bf16 checkpoint becomes an FP8 or INT4 one through ModelOpt, and is read again for its price.

ModelOpt runs in the Python of NVIDIA's container. What it wrote is dequantised here, by our own
reading of its format, and compared with what it was made of: matrix by matrix, and in the loss on
prompts that it was not calibrated on. Says nothing about the kernels of a GPU. Read
`quantize_checkpoint` first.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabwright.artifact import ModelArtifact, write_json
from tabwright.errors import ConfigError, CorruptArtifact, ValidationFailed
from training.export.checks import load_model
from training.export.container_python import run_in_container_python
from training.export.container_quantizer import mean_loss
from training.export.dequantization import dequantise, weight_errors
from training.export.finished import Finished
from training.export.source import Source

METHODS = {"fp8": "FP8", "int4_awq": "W4A16_AWQ"}  # and ModelOpt's name
AWQ_GROUP = 128
# Relative error of a matrix above which the file is not what ModelOpt meant to write.
WEIGHT_ERROR_BOUND = {"fp8": 0.05, "int4_awq": 0.25}
MOST_PROMPTS = 256
_SCRIPT = Path(__file__).with_name("container_quantizer.py")
_KEPT = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a checkpoint is quantised.

    prompts: JSON lines with prefix, middle and suffix, as `tabwright train holes` writes them, of
    text that the model was not trained on; the even rows calibrate, the odd ones are asked after
    the loss. max_loss_increase: nats a token above which the export is refused.
    """

    method: str
    prompts: Path
    python: Path
    max_loss_increase: float = 0.1


def check_quantizable(source: Source, quantization: Quantization) -> None:
    """Refuse what ModelOpt would write wrongly.

    Raises:
        ConfigError: an unknown method, or widths that do not fill AWQ's groups.
    """
    if quantization.method not in METHODS:
        raise ConfigError(f"--quantize {quantization.method}: known are {', '.join(METHODS)}")
    if quantization.method == "int4_awq":
        for key in ("hidden_size", "intermediate_size"):
            if (width := int(source.config[key])) % AWQ_GROUP:
                raise ConfigError(
                    f"--quantize int4_awq: {key} {width} is no multiple of {AWQ_GROUP}; use fp8"
                )


def quantize_checkpoint(
    export: Finished, exported: ModelArtifact, quantization: Quantization
) -> tuple[ModelArtifact, dict[str, Any]]:
    """Put the quantised checkpoint in the place of the bf16 one; return it and what it costs.

    Raises:
        ConfigError: the prompts are too few.
        ValidationFailed: ModelOpt failed, or the model lost more than it may.
    """
    rows = read_prompts(quantization.prompts, exported)
    calibration, held_out = rows[::2], rows[1::2]
    with tempfile.TemporaryDirectory(dir=export.folder.parent, prefix=".quantised-") as scratch:
        folder, plain = Path(scratch) / "quantised", Path(scratch) / "plain"
        told = run_in_container_python(
            quantization.python,
            _SCRIPT,
            [quantization.method, exported.path, folder],
            {"calibration": calibration, "held_out": held_out},
        )
        _check_method(folder, quantization.method)
        _dequantised_copy(exported.path, folder, plain)
        errors = weight_errors(exported.path, plain, folder)
        facts = {
            "name": f"quantised to {quantization.method}",
            "modelopt": told["modelopt"],
            "prompts": {"calibration": len(calibration), "held_out": len(held_out)},
            "matrices": len(errors),
            "weight_error": {
                "mean": sum(errors.values()) / len(errors),
                "max": max(errors.values()),
            },
            "loss": {
                "before": mean_loss(load_model(exported.path), held_out),
                "after": mean_loss(load_model(plain), held_out),
                "simulated": told["loss_simulated"],
            },
            "max_loss_increase": quantization.max_loss_increase,
        }
        _check_price(facts, errors, quantization)
        return _replace(exported, folder), facts


def read_prompts(file: Path, exported: ModelArtifact) -> list[dict[str, Any]]:
    """Prompts and answers as ids, each with the place where the answer begins.

    Raises:
        ConfigError: the file is none of prompts, or has less than two that fit the context.
    """
    rows: list[dict[str, Any]] = []
    try:
        for line in file.read_text("utf-8").splitlines()[: 2 * MOST_PROMPTS]:
            hole = json.loads(line)
            encode = exported.tokenizer.encode
            ids = exported.fim.prompt(encode(hole["prefix"]), encode(hole["suffix"]))
            answer = [*encode(hole["middle"]), exported.fim.stop_ids[0]]
            if len(ids) + len(answer) <= exported.max_context:
                rows.append({"ids": [*ids, *answer], "answer": len(ids)})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"--calibration {file}: {error!r}") from error
    if len(rows) < 2:
        raise ConfigError(f"--calibration {file}: {len(rows)} prompts fit; at least 2 are needed")
    return rows


def _check_method(folder: Path, method: str) -> None:
    """ModelOpt's own word for what it wrote, which TensorRT-LLM reads."""
    try:
        told = json.loads((folder / "hf_quant_config.json").read_text("utf-8"))["quantization"]
    except (OSError, ValueError, LookupError) as error:
        raise ValidationFailed(f"hf_quant_config.json: {error!r}") from error
    if told.get("quant_algo") != METHODS[method]:
        raise ValidationFailed(f"hf_quant_config.json: {told.get('quant_algo')}, not {method}")
    if method == "int4_awq" and told.get("group_size") != AWQ_GROUP:
        raise ValidationFailed(f"hf_quant_config.json: group_size is {told.get('group_size')}")


def _check_price(
    facts: dict[str, Any], errors: dict[str, float], quantization: Quantization
) -> None:
    bound = WEIGHT_ERROR_BOUND[quantization.method]
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= bound:  # also true for NaN
        raise ValidationFailed(
            f"{quantization.method}: {worst} is off by {errors[worst]:.3g} of its size; {bound} "
            "is allowed"
        )
    loss = facts["loss"]
    for kind in ("after", "simulated"):
        if not loss[kind] - loss["before"] <= quantization.max_loss_increase:
            raise ValidationFailed(
                f"{quantization.method}: held-out loss ({kind}) goes from {loss['before']:.4f} to "
                f"{loss[kind]:.4f}; --max-loss-increase {quantization.max_loss_increase} is allowed"
            )


def _dequantised_copy(checkpoint: Path, quantised: Path, plain: Path) -> None:
    """The checkpoint with the weights that the quantised files stand for."""
    from safetensors.torch import save_file

    plain.mkdir()
    shutil.copyfile(checkpoint / "config.json", plain / "config.json")
    files = sorted(quantised.glob("*.safetensors"))
    if not files:
        raise CorruptArtifact("ModelOpt wrote no .safetensors file")
    save_file(dequantise(files), plain / "model.safetensors", metadata={"format": "pt"})


def _replace(exported: ModelArtifact, quantised: Path) -> ModelArtifact:
    """Our config with ModelOpt's words of how it is quantised; our tokenizer and stop ids."""
    place = exported.path
    for name in (*_KEPT, "generation_config.json"):
        shutil.copyfile(place / name, quantised / name)
    told = json.loads((quantised / "config.json").read_text("utf-8"))
    write_json(
        quantised / "config.json",
        {**exported.config, "quantization_config": told["quantization_config"]},
    )
    for file in quantised.iterdir():
        file.chmod(0o644)
    shutil.rmtree(place)
    return ModelArtifact.save(
        quantised,
        place,
        name=exported.name,
        family=exported.fim.family.name,
        order=exported.fim.order,
        max_context=exported.max_context,
        lineage=exported.lineage,
        validation=exported.validation,
    )
