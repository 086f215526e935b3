"""Are the files of an export fit to be read by Triton and the LLM? Asked without computing.

Each check returns what it saw, for the manifest, or raises. What needs the model itself is in
`checks.py`. Read `check_description` first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError, CorruptArtifact, ValidationFailed
from tabwright.fim import FimFormat
from tabwright.tensors import INPUTS, LLM_VERSION, MAX_ACTIVE, MAX_CONTEXT, OUTPUTS
from tabwright.tokenizer import Tokenizer
from training.export.finished import Finished
from training.export.llm_schema import (
    LLM_ARGUMENTS,
    LOCAL_ARGUMENTS,
    OUR_SETTINGS,
    check_arguments,
)
from training.export.portable import NEW_KEYS, OLD_KEYS
from training.export.repository import TENSORRT_LLM
from training.export.source import check_architecture, check_heads
from training.export.weights import tensor_table


def check_description(export: Finished) -> dict[str, Any]:
    """`config.pbtxt` parses as Triton's own message and has the table of tensors, no more."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    file = export.model / "config.pbtxt"
    try:
        config = text_format.Parse(file.read_text("utf-8"), model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ValidationFailed(f"config.pbtxt: Triton could not read it: {error}") from error
    facts = {
        "name": (config.name, export.model.name),
        "backend": (config.backend, "python"),
        "max_batch_size": (config.max_batch_size, 0),
        "decoupled": (config.model_transaction_policy.decoupled, True),
        "instances": ([g.count for g in config.instance_group], [1]),
    }
    for key, (found, wanted) in facts.items():
        if found != wanted:
            raise ValidationFailed(f"config.pbtxt: {key} is {found!r}, not {wanted!r}")
    dtype_name = model_config_pb2.DataType.Name
    for kind, found, table in (("input", config.input, INPUTS), ("output", config.output, OUTPUTS)):
        named = {t.name: (dtype_name(t.data_type), list(t.dims)) for t in found}
        wanted = {row.name: (f"TYPE_{row.dtype}", [row.length]) for row in table}
        for name in [*wanted, *named]:
            if named.get(name) != wanted.get(name):
                raise ValidationFailed(
                    f"config.pbtxt: {kind} {name} is {named.get(name)}, the gateway's table says "
                    f"{wanted.get(name)}"
                )
    if required := [t.name for t in config.input if not t.optional]:
        raise ValidationFailed(f"config.pbtxt: {required[0]} is required; a bare stop lacks it")
    told = {key: value.string_value for key, value in config.parameters.items()}
    limits = {
        LLM_VERSION: export.runtime.version,
        MAX_CONTEXT: str(export.serving.max_context),
        MAX_ACTIVE: str(export.serving.max_active),
    }
    for key, limit in limits.items():
        if told.get(key) != limit:
            raise ValidationFailed(f"config.pbtxt: {key} is {told.get(key)!r}, not {limit!r}")
    return {"name": "config.pbtxt", "inputs": len(config.input), "outputs": len(config.output)}


def check_yaml(export: Finished) -> dict[str, Any]:
    """`model.yaml` and `trtllm-serve.yaml` hold nothing that the LLM would refuse."""
    local = export.runtime is not TENSORRT_LLM
    known = LOCAL_ARGUMENTS if local else LLM_ARGUMENTS
    settings = _yaml(export.model / "1" / "model.yaml")
    if set(settings) != {"tabwright", "llm"}:
        raise ValidationFailed(f"model.yaml: sections are {', '.join(map(str, settings))}")
    count = check_arguments(settings["tabwright"], OUR_SETTINGS, "model.yaml: tabwright")
    count += check_arguments(settings["llm"], known, "model.yaml: llm")
    points = (export.model / "1" / settings["llm"]["model"]).resolve()
    if points != export.checkpoint.resolve():
        raise ValidationFailed(f"model.yaml: llm: model leads to {points.name}, not to checkpoint")
    if not local:
        served = _yaml(export.folder / "trtllm-serve.yaml")
        count += check_arguments(served, LLM_ARGUMENTS, "trtllm-serve.yaml")
    transcribed = "local_llm" if local else "TensorRT-LLM 1.2, by our transcription"
    return {"name": "yaml", "values": count, "schema": transcribed}


def check_json(export: Finished) -> dict[str, Any]:
    """The small files say what both versions of transformers need, and name every stop id."""
    config = _json(export.checkpoint / "config.json")
    lacking = [key for key in (*OLD_KEYS, *NEW_KEYS) if key not in config]
    if lacking:
        raise ValidationFailed(f"config.json lacks {', '.join(lacking)}")
    try:
        check_architecture(config)
        check_heads(config, export.serving.tensor_parallel)
        fim = FimFormat.bind(
            export.source.fim.family.name,
            Tokenizer.from_file(export.checkpoint / "tokenizer.json"),
            export.source.fim.order,
        )
    except (ConfigError, CorruptArtifact) as error:
        raise ValidationFailed(str(error)) from error
    told = _json(export.folder / "fim.json")
    if told["sentinel_ids"] != fim.ids or told["stop_ids"] != list(fim.stop_ids):
        raise ValidationFailed("fim.json: its ids are not the tokenizer's")
    _check_stops(_json(export.checkpoint / "generation_config.json"), fim.stop_ids)
    tokenizer = _json(export.checkpoint / "tokenizer_config.json")
    if (kind := tokenizer.get("tokenizer_class")) != "PreTrainedTokenizerFast":
        raise ValidationFailed(f"tokenizer_config.json: tokenizer_class {kind!r} is of 5.x only")
    if "extra_special_tokens" in tokenizer:
        raise ValidationFailed(
            "tokenizer_config.json: 4.57 cannot load a list of extra_special_tokens; name them "
            "additional_special_tokens"
        )
    return {"name": "json", "stop_ids": len(fim.stop_ids), "sentinels": len(fim.ids)}


def check_tensors(export: Finished) -> dict[str, Any]:
    """Every tensor of the source is there under its name, in bf16, finite, and no other."""
    found = tensor_table(sorted(export.checkpoint.glob("*.safetensors")))
    wanted = tensor_table(export.source.weight_files)
    for name in sorted({*found, *wanted}):
        if name not in found or name not in wanted:
            where = "lost" if name not in found else "not the source's"
            raise ValidationFailed(f"tensor {name} is {where}")
        if found[name].dtype != "BF16":
            raise ValidationFailed(f"tensor {name} is {found[name].dtype}, not BF16")
        if found[name].shape != wanted[name].shape:
            raise ValidationFailed(f"tensor {name} has shape {found[name].shape}")
    rows = int(_json(export.checkpoint / "config.json")["vocab_size"])
    size = export.source.tokenizer.vocab_size
    if size > rows:
        raise ValidationFailed(f"the tokenizer has {size} ids, the embedding {rows} rows")
    return {"name": "tensors", "tensors": len(found)}


def _check_stops(told: Mapping[str, Any], stop_ids: Iterable[int]) -> None:
    listed = told.get("eos_token_id")
    if not isinstance(listed, list):
        raise ValidationFailed(
            f"generation_config.json: eos_token_id is {listed!r}, and must be a list of all stops"
        )
    if missing := sorted({*stop_ids} - {*listed}):
        raise ValidationFailed(f"generation_config.json: eos_token_id lacks {missing}")


def _json(file: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValidationFailed(f"{file.name}: {error}") from error
    return value


def _yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValidationFailed(f"{file.name}: {error}") from error
    if not isinstance(value, dict):
        raise ValidationFailed(f"{file.name}: a table is expected")
    return value
