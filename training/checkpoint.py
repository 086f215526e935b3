"""Checkpoints of a run: whole or absent, checked on load, the newest good one wins.

<run>/checkpoints/step-00000400/
  model/          Hugging Face folder (config, safetensors, tokenizer, generation config)
  trainer.pt      optimizer state, step, config
  manifest.json   digests of all files; written last
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabwright.artifact import file_digest, write_json
from tabwright.errors import CorruptArtifact

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path, step: int, model: PreTrainedModel, tokenizer_file: Path, state: dict[str, Any]
) -> Path:
    """Write `folder/step-N` through a temporary folder and a rename."""
    import torch

    target = folder / f"step-{step:08d}"
    work = folder / f".{target.name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    (work / "model").mkdir(parents=True)
    model.save_pretrained(work / "model")
    shutil.copyfile(tokenizer_file, work / "model" / "tokenizer.json")
    torch.save({**state, "step": step}, work / "trainer.pt")
    files = {str(f.relative_to(work)): file_digest(f) for f in _files(work)}
    write_json(work / "manifest.json", {"step": step, "files": files})
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Newest checkpoint whose files are what they were; damaged ones are named and passed over."""
    for candidate in sorted(folder.glob("step-*"), reverse=True):
        try:
            check_checkpoint(candidate)
        except CorruptArtifact as error:
            logger.warning("checkpoint passed over", extra={"reason": str(error)})
            continue
        return candidate
    return None


def check_checkpoint(folder: Path) -> int:
    """Return the step of a checkpoint after checking every byte.

    Raises:
        CorruptArtifact: a file is missing or altered.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        files, step = manifest["files"], int(manifest["step"])
    except (OSError, ValueError, KeyError) as error:
        raise CorruptArtifact(f"{folder.name}/manifest.json: {error}") from error
    for name, digest in files.items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise CorruptArtifact(f"{folder.name}/{name} is missing or was altered")
    return step


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file())
