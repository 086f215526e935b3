"""Checkpoints on disk: whole or absent, checked on load, the newest good one wins.

<run>/checkpoints/step-00000400/
  state/          torch.distributed.checkpoint: weights, optimizer, average; any layout reads it
  model/          Hugging Face folder (config, one safetensors file, tokenizer, generation config)
  average/        the same with averaged weights, if the run keeps an average
  manifest.json   step, what else the run must remember, digests of all files; written last

`saving.py` writes them while training goes on.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabwright.artifact import file_digest, write_json
from tabwright.errors import CorruptArtifact

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

MANIFEST, STATE, MODEL, AVERAGE = "manifest.json", "state", "model", "average"
WEIGHTS = "model.safetensors"


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def partial_folder(folder: Path, step: int) -> Path:
    """Where it lies until it is whole."""
    return folder / f".step-{step:08d}.partial"


def finish(
    folder: Path, step: int, model: PreTrainedModel, tokenizer_file: Path, memory: dict[str, Any]
) -> Path:
    """Make the partial folder of a step, whose `state` is written, a checkpoint."""
    work, target = partial_folder(folder, step), step_folder(folder, step)
    for part in (MODEL, AVERAGE):
        write_model(work / STATE, part, model, tokenizer_file, work / part)
    files = {str(f.relative_to(work)): file_digest(f) for f in _files(work)}
    write_json(work / MANIFEST, {"step": step, "memory": memory, "files": files})
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return target


def write_model(
    state: Path, part: str, model: PreTrainedModel, tokenizer_file: Path, out: Path
) -> None:
    """Put the pieces of `part` together in one Hugging Face folder; nothing if there are none."""
    import torch
    from safetensors.torch import save_file
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader, prefix = FileSystemReader(state), f"{part}."
    tensors = {
        name: torch.empty(facts.size, dtype=facts.properties.dtype)
        for name, facts in reader.read_metadata().state_dict_metadata.items()
        if name.startswith(prefix) and isinstance(facts, TensorStorageMetadata)
    }
    if not tensors:
        return
    load(tensors, storage_reader=reader, no_dist=True)
    out.mkdir()
    named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    save_file(named, out / WEIGHTS, metadata={"format": "pt"})
    model.config.save_pretrained(out)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(out)
    shutil.copyfile(tokenizer_file, out / "tokenizer.json")


def latest_checkpoint(folders: Sequence[Path]) -> Path | None:
    """Newest checkpoint whose files are what they were; damaged ones are named and passed over."""
    found = [candidate for folder in folders for candidate in folder.glob("step-*")]
    for candidate in sorted(found, key=lambda path: path.name, reverse=True):
        try:
            check_checkpoint(candidate)
        except CorruptArtifact as error:
            logger.warning("checkpoint passed over: %s", error)
            continue
        return candidate
    return None


def check_checkpoint(folder: Path) -> int:
    """Return the step of a checkpoint after checking every byte.

    Raises:
        CorruptArtifact: a file is missing or altered.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files, step = manifest["files"], int(manifest["step"])
    except (OSError, ValueError, KeyError) as error:
        raise CorruptArtifact(f"{folder.name}/{MANIFEST}: {error}") from error
    for name, digest in files.items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise CorruptArtifact(f"{folder.name}/{name} is missing or was altered")
    return step


def prune_checkpoints(folder: Path, keep: int, keep_every: int | None = None) -> None:
    """Remove all but the newest `keep` checkpoints and those of every `keep_every`th step."""
    for old in sorted(folder.glob("step-*"))[:-keep]:
        if not keep_every or int(old.name.removeprefix("step-")) % keep_every:
            shutil.rmtree(old)


def copy_checkpoint(checkpoint: Path, second: Path) -> None:
    """Copy a checkpoint into another folder, whole or not at all."""
    work = second / f".{checkpoint.name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(checkpoint, work)
    shutil.rmtree(second / checkpoint.name, ignore_errors=True)
    work.rename(second / checkpoint.name)


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file())
