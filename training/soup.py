"""One model out of several: the mean of their weights (Wortsman et al. 2022, arXiv 2203.05482).

It is worth something only for models that went on from the same weights. Read `blend`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tabwright.artifact import file_digest, write_json
from tabwright.errors import ConfigError
from training.checkpoint import MANIFEST, MODEL, WEIGHTS, check_checkpoint
from training.export.weights import tensor_table

_TOLD = "soup.json"


def blend(given: Sequence[Path], out: Path, shares: Sequence[float] = ()) -> dict[str, float]:
    """Write the mean of the models `given` as the folder `out`; returns the share of each.

    given: checkpoints of runs, or Hugging Face folders with one weights file. shares: how much each
    counts, the same for all without.

    Raises:
        ConfigError: `out` exists, or the models do not belong together.
        CorruptArtifact: a checkpoint was altered, or a file cannot be read.
    """
    if out.exists():
        raise ConfigError(f"--out {out} exists; give another folder")
    if len(given) < 2 or (shares and len(shares) != len(given)):
        raise ConfigError("--checkpoints: give two or more, and as many --shares if any")
    if not all(0 < share < float("inf") for share in shares):
        raise ConfigError("--shares: give numbers above 0")
    folders = [_model_of(path) for path in given]
    _check_alike(folders)
    whole = sum(shares) or float(len(given))
    parts = [share / whole for share in shares or [1.0] * len(given)]
    work = out.with_name(f".{out.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folders[0], work, ignore=shutil.ignore_patterns(WEIGHTS))
    _write_mean([folder / WEIGHTS for folder in folders], parts, work / WEIGHTS)
    told = {str(path): part for path, part in zip(given, parts, strict=True)}
    digests = [file_digest(folder / WEIGHTS) for folder in folders]
    write_json(work / _TOLD, {"shares": told, "weights": digests})
    work.rename(out)
    return told


def _model_of(path: Path) -> Path:
    """The folder with the weights of a checkpoint, checked, or the folder itself."""
    folder = path
    if (path / MANIFEST).is_file() and (path / MODEL).is_dir():
        check_checkpoint(path)
        folder = path / MODEL
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"--checkpoints {path}: has no {WEIGHTS}")
    return folder


def _check_alike(folders: Sequence[Path]) -> None:
    tables = [tensor_table([folder / WEIGHTS]) for folder in folders]
    if any(".lora_" in name for name in tables[0]):
        raise ConfigError(
            "--checkpoints: a mean of adapters is no mean of what they do; merge first"
        )
    for folder, table in zip(folders[1:], tables[1:], strict=True):
        differing = sorted(
            name for name in table.keys() | tables[0].keys()
            if table.get(name) != tables[0].get(name)
        )  # fmt: skip
        if differing:
            raise ConfigError(f"--checkpoints {folder}: {differing[0]} differs from the first's")
        for name in ("tokenizer.json", "config.json"):
            both = [one / name for one in (folders[0], folder)]
            if len({file.read_bytes() if file.is_file() else b"" for file in both}) > 1:
                raise ConfigError(f"--checkpoints {folder}: {name} differs from the first's")


def _write_mean(files: Sequence[Path], parts: Sequence[float], out: Path) -> None:
    """Tensor by tensor, in 32 bits at least, stored in the type of the first file."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name in tensor_table(files[:1]):
        mean = torch.zeros(())
        for file, part in zip(files, parts, strict=True):
            with safe_open(file, framework="pt") as stored:
                tensor = stored.get_tensor(name)
            mean = mean + tensor.double() * part
        tensors[name] = mean.to(tensor.dtype)
    save_file(tensors, out, metadata={"format": "pt"})
