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

import json
import os
import re
import shutil
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tabwright import __version__
from tabwright.artifact import MANIFEST, ModelArtifact, file_digest, write_json
from tabwright.errors import ConfigError, CorruptArtifact
from training.export.checks import reference_answers, run_checks
from training.export.portable import generation_config, portable_config, tokenizer_config
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
from training.export.weights import write_bf16

SCHEMA_VERSION = 1
CONTAINER_TAG = "tritonserver:26.07-trtllm-python-py3"
TRANSFORMERS_IN_CONTAINER = "4.57.3"
_TEMPLATES = Path(__file__).parents[2] / "model_repository"
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
) -> dict[str, Any]:
    """Publish `artifact` as the folder `out`, whole or not at all; return the manifest.

    Raises:
        ConfigError: `out` exists, or the model is one that is refused (`read_source`).
        CorruptArtifact: a file of it is missing or altered, or a weight is not finite.
        ValidationFailed: what was written is not the model that was read.
    """
    if to not in RUNTIMES:
        raise ConfigError(f"--to {to}: known are {', '.join(RUNTIMES)}")
    if os.path.lexists(out):
        raise ConfigError(f"--out {out} exists; choose another or remove it")
    if container_digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", container_digest):
        raise ConfigError(f"--container-digest {container_digest}: give sha256: and 64 hex digits")
    source = read_source(
        artifact,
        name=name,
        family=family,
        order=order,
        max_context=max_context,
        tensor_parallel=tensor_parallel,
    )
    if not _NAME.fullmatch(source.name):
        raise ConfigError(f"--name {source.name}: letters, digits, dot, dash and underscore only")
    serving = Serving(max_context=source.max_context, tensor_parallel=tensor_parallel)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        exported = _write_checkpoint(source, work)
        _write_serving(source, exported, RUNTIMES[to], serving, work)
        checks = run_checks(source, exported.path) if validate else []
        if validate:
            write_json(work / "reference.json", reference_answers(exported))
        manifest = _manifest(source, exported, RUNTIMES[to], container_digest, checks, work)
        write_json(work / MANIFEST, manifest)
        check_export(work)
        _publish(work, out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return manifest


def check_export(folder: Path) -> dict[str, Any]:
    """Compare every file with its digest and return the manifest.

    Raises:
        CorruptArtifact: a file is missing, altered or unknown, or the manifest cannot be read.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        expected = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{folder.name}/{MANIFEST}: {error!r}") from error
    found = _digests(folder)
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            what = "missing" if name not in found else "altered or not listed"
            raise CorruptArtifact(f"{folder.name}/{name} is {what}; export or copy the model again")
    return manifest


def _write_checkpoint(source: Source, work: Path) -> ModelArtifact:
    """The folder `checkpoint`: what transformers loads, and an artifact for the gateway."""
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


def _write_serving(
    source: Source, exported: ModelArtifact, runtime: Runtime, serving: Serving, work: Path
) -> None:
    """Everything around the checkpoint, but for manifest and reference."""
    model = work / "model_repository" / source.name
    (model / "1").mkdir(parents=True)
    pbtxt = config_pbtxt(
        source.name,
        runtime,
        serving,
        artifact_digest=exported.digest,
        source_digest=source.digest,
        tokenizer_digest=file_digest(exported.path / "tokenizer.json"),
    )
    (model / "config.pbtxt").write_text(pbtxt, "utf-8")
    (model / "1" / "model.yaml").write_text(model_yaml(runtime, serving), "utf-8")
    shutil.copyfile(_TEMPLATES / "tensorrt_llm" / "1" / "model.py", model / "1" / "model.py")
    shutil.copyfile(exported.path / "fim.json", work / "fim.json")
    if runtime is TENSORRT_LLM:
        (work / "trtllm-serve.yaml").write_text(serve_yaml(serving), "utf-8")
        shutil.copyfile(_TEMPLATES / "tensorrt_llm" / "smoke_gpu.py", work / "smoke_gpu.py")
    else:
        local = Path("1") / "local_llm.py"
        shutil.copyfile(_TEMPLATES / "local_llm" / local, model / local)


def _manifest(
    source: Source,
    exported: ModelArtifact,
    runtime: Runtime,
    container_digest: str | None,
    checks: list[dict[str, Any]],
    work: Path,
) -> dict[str, Any]:
    local = runtime is not TENSORRT_LLM
    packages = {name: version(name) for name in _PACKAGES}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": source.name,
        "target": runtime.module,
        "files": _digests(work),
        "container": None if local else {"tag": CONTAINER_TAG, "digest": container_digest},
        "versions": {
            "exporter": {"tabwright": __version__, **packages},
            "runtime": {runtime.module: runtime.version}
            | ({} if local else {"transformers": TRANSFORMERS_IN_CONTAINER}),
        },
        "source": {"name": source.path.resolve().name, "digest": source.digest},
        "checkpoint_digest": exported.digest,
        "lineage": dict(source.lineage),
        "validation": {
            "level": "cpu-contract" if checks else "digests",
            "date": datetime.now(UTC).date().isoformat(),
            "checks": checks,
        },
    }


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    names = {f.relative_to(folder).as_posix(): f for f in files if "__pycache__" not in f.parts}
    return {name: file_digest(f) for name, f in names.items() if name != MANIFEST}


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
