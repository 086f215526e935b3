"""An artifact, or a Hugging Face checkpoint, becomes a folder that a Triton node serves unchanged.

    <out>/
      manifest.json        sha256 of every other file, container, versions, lineage, validation
      checkpoint/          bf16 weights, config, tokenizer, generation config; an artifact itself
      fim.json             FIM family, order, sentinel ids, stop ids, context
      reference.json       what transformers answers to a few prompts, for the smoke run
      model_repository/<name>/config.pbtxt, 1/model.py, 1/model.yaml
      trtllm-serve.yaml    the same arguments for the server without Triton
      smoke_gpu.py         to be run in the container, on a GPU

No engine is built: TensorRT-LLM's PyTorch backend reads the checkpoint. Nothing here runs
TensorRT-LLM, so the level of validation is `cpu-contract` until `smoke_gpu.py` has written another.
`--to local_llm` writes the same for a CPU. Read `export_model` first.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tabwright import __version__
from tabwright.artifact import MANIFEST, ModelArtifact, file_digest, write_json
from tabwright.errors import ConfigError
from training.export.checks import reference_answers
from training.export.container_checks import TRANSFORMERS
from training.export.finished import Finished
from training.export.lora import NAME, copy_lora, read_lora
from training.export.lora_check import check_lora
from training.export.manifest import (
    CONTAINER_TAG,
    SCHEMA_VERSION,
    check_container,
    check_export,
    file_digests,
)
from training.export.portable import generation_config, portable_config, tokenizer_config
from training.export.quantization import (
    Quantization,
    check_quantizable,
    quantize_checkpoint,
)
from training.export.repository import (
    RUNTIMES,
    TENSORRT_LLM,
    Runtime,
    Serving,
    config_pbtxt,
    model_yaml,
    serve_yaml,
)
from training.export.source import Source, read_source
from training.export.validation import run_checks
from training.export.weights import write_bf16

_TEMPLATES = Path(__file__).parents[2] / "model_repository"
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")


def export_model(
    artifact: Path,
    out: Path,
    *,
    to: str = TENSORRT_LLM.module,
    name: str | None = None,
    family: str | None = None,
    order: str | None = None,
    max_context: int | None = None,
    tensor_parallel: int = 1,
    container_digest: str | None = None,
    validate: bool = True,
    reader: Path | None = None,
    quantization: Quantization | None = None,
    loras: Mapping[str, Path] | None = None,
    speculate: bool = False,
) -> dict[str, Any]:
    """Publish `artifact` as the folder `out`, whole or not at all; return the manifest.

    reader: a Python with the transformers of NVIDIA's container (`container_python`), which then
    checks the checkpoint too. loras: PEFT adapters by the name that requests use. speculate: draft
    tokens from n-grams of the request's own text.

    Raises:
        ConfigError: `out` exists, or the model or an adapter is one that is refused.
        CorruptArtifact: a file of it is missing or altered, or a weight is not finite.
        ValidationFailed: what was written is not the model that was read.
    """
    runtime = _runtime(to, quantization, speculate)
    if os.path.lexists(out):
        raise ConfigError(f"--out {out} exists; choose another or remove it")
    check_container(CONTAINER_TAG, container_digest)
    source = read_source(
        artifact,
        name=name,
        family=family,
        order=order,
        max_context=max_context,
        tensor_parallel=tensor_parallel,
    )
    if quantization is not None:
        check_quantizable(source, quantization)
    serving = _serving(source, tensor_parallel, loras or {}, speculate)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}") from None
    try:
        export = Finished(source, work, runtime, serving, reader)
        manifest = _fill(export, container_digest, validate, quantization)
        _publish(work, out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return manifest


def _runtime(to: str, quantization: Quantization | None, speculate: bool) -> Runtime:
    if to not in RUNTIMES:
        raise ConfigError(f"--to {to}: known are {', '.join(RUNTIMES)}")
    if to != TENSORRT_LLM.module and (quantization or speculate):
        raise ConfigError(f"--to {to}: it computes float32, one token after another; leave out "
                          "--quantize and --speculate")  # fmt: skip
    return RUNTIMES[to]


def _serving(
    source: Source, tensor_parallel: int, loras: Mapping[str, Path], speculate: bool
) -> Serving:
    if not NAME.fullmatch(source.name):
        raise ConfigError(f"--name {source.name}: letters, digits, dot, dash and underscore only")
    return Serving(
        max_context=source.max_context,
        tensor_parallel=tensor_parallel,
        adapters=tuple(read_lora(name, path, source) for name, path in loras.items()),
        speculate=speculate,
    )


def _fill(
    export: Finished,
    container_digest: str | None,
    validate: bool,
    quantization: Quantization | None,
) -> dict[str, Any]:
    """Write every file of the export, check it, and return the manifest, which is the last."""
    exported = _write_checkpoint(export)
    for adapter in export.serving.adapters:
        copy_lora(adapter, export.folder)
    _write_serving(export, exported)
    checks = run_checks(export) if validate else []
    if validate:
        checks += [check_lora(export, adapter) for adapter in export.serving.adapters]
        write_json(export.folder / "reference.json", reference_answers(exported))
    if quantization is not None:
        exported, told = quantize_checkpoint(export, exported, quantization)
        checks.append(told)
        _write_serving(export, exported)
    manifest = _manifest(export, exported, container_digest, checks)
    if not validate:
        manifest["validation"]["level"] = "digests"
    write_json(export.folder / MANIFEST, manifest)
    return check_export(export.folder)


def _write_checkpoint(export: Finished) -> ModelArtifact:
    """The folder `checkpoint`: what transformers loads, and an artifact for the gateway."""
    source, work = export.source, export.folder
    with tempfile.TemporaryDirectory(dir=work.parent) as scratch:
        folder = Path(scratch)
        parameters = write_bf16(source.weight_files, folder)
        write_json(folder / "config.json", portable_config(source.config))
        write_json(folder / "generation_config.json", generation_config(source.config, source.fim))
        tokenizer, special = tokenizer_config(source.path, source.fim, source.max_context)
        write_json(folder / "tokenizer_config.json", tokenizer)
        write_json(folder / "special_tokens_map.json", special)
        shutil.copyfile(source.path / "tokenizer.json", folder / "tokenizer.json")
        return ModelArtifact.save(
            folder,
            work / "checkpoint",
            name=source.name,
            family=source.fim.family.name,
            order=source.fim.order,
            max_context=source.max_context,
            lineage={"parameters": parameters, **source.lineage},
            validation={"level": "digests", "checks": ["finite weights", "sentinels single-id"]},
        )


def _write_serving(export: Finished, exported: ModelArtifact) -> None:
    """Everything around the checkpoint, but for manifest and reference."""
    model, work = export.model, export.folder
    (model / "1").mkdir(parents=True, exist_ok=True)
    pbtxt = config_pbtxt(
        export.source.name,
        export.runtime,
        export.serving,
        artifact_digest=exported.digest,
        source_digest=export.source.digest,
        tokenizer_digest=file_digest(exported.path / "tokenizer.json"),
    )
    (model / "config.pbtxt").write_text(pbtxt, "utf-8")
    (model / "1" / "model.yaml").write_text(model_yaml(export.runtime, export.serving), "utf-8")
    shutil.copyfile(_TEMPLATES / "tensorrt_llm" / "1" / "model.py", model / "1" / "model.py")
    shutil.copyfile(exported.path / "fim.json", work / "fim.json")
    if export.runtime is TENSORRT_LLM:
        (work / "trtllm-serve.yaml").write_text(serve_yaml(export.serving), "utf-8")
        shutil.copyfile(_TEMPLATES / "tensorrt_llm" / "smoke_gpu.py", work / "smoke_gpu.py")
    else:
        local = Path("1") / "local_llm.py"
        shutil.copyfile(_TEMPLATES / "local_llm" / local, model / local)


def _manifest(
    export: Finished,
    exported: ModelArtifact,
    container_digest: str | None,
    checks: list[dict[str, Any]],
) -> dict[str, Any]:
    source, runtime = export.source, export.runtime
    local = runtime is not TENSORRT_LLM
    packages = {name: version(name) for name in _PACKAGES}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": source.name,
        "target": runtime.module,
        "files": file_digests(export.folder),
        "container": None if local else {"tag": CONTAINER_TAG, "digest": container_digest},
        "versions": {
            "exporter": {"tabwright": __version__, **packages},
            "runtime": {runtime.module: runtime.version}
            | ({} if local else {"transformers": TRANSFORMERS}),
        },
        "source": {"name": source.path.resolve().name, "digest": source.digest},
        "checkpoint_digest": exported.digest,
        "loras": {adapter.name: adapter.facts() for adapter in export.serving.adapters},
        "lineage": dict(source.lineage),
        "validation": {
            "level": "cpu-contract",
            "date": datetime.now(UTC).date().isoformat(),
            "checks": checks,
        },
    }


def _publish(work: Path, out: Path) -> None:
    """Bring every byte to the disk, then let the folder appear under its name."""
    for path in [*work.rglob("*"), work]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    work.chmod(0o755)
    work.rename(out)
