"""The model folder of record: a Hugging Face checkpoint, `fim.json` and `manifest.json`.

    <artifact>/
      config.json  generation_config.json  model*.safetensors  tokenizer.json  tokenizer_config.json
      fim.json        FIM family, default order, sentinel ids, stop ids, largest context
      manifest.json   schema version, name, sha256 of every other file, lineage, validation

Every engine format is derived from this folder and can be thrown away. `manifest.json` is written
last, so a folder without one is not finished. This file knows nothing about weights beyond their
digests. Read `ModelArtifact.load` first.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError, CorruptArtifact
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
REQUIRED = ("config.json", "generation_config.json", "tokenizer.json", "fim.json")


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """One model, checked.

    digest: sha256 over the digests of all files; two artifacts with equal digests are equal.
    config: the parsed `config.json`. max_context: tokens of prompt and answer together.
    lineage: where it came from (data digest, tokenizer digest, run, commit, packages).
    validation: what was checked of it, by name.
    """

    path: Path
    name: str
    digest: str
    config: Mapping[str, Any] = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    fim: FimFormat = field(repr=False)
    max_context: int
    lineage: Mapping[str, Any] = field(repr=False)
    validation: Mapping[str, Any] = field(repr=False)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding; ids at or above it are refused."""
        return int(self.config["vocab_size"])

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files, sorted by name."""
        return tuple(sorted(self.path.glob("*.safetensors")))

    @classmethod
    def load(cls, path: Path | str) -> ModelArtifact:
        """Read and check a model folder: every byte against its digest, every sentinel one id.

        Raises:
            CorruptArtifact: a file is missing, altered, extra or of another schema version, or a
                sentinel is not what `fim.json` says.
        """
        path = Path(path)
        manifest = _read_json(path / MANIFEST)
        version = manifest.get("schema_version")
        if version != SCHEMA_VERSION:
            raise CorruptArtifact(
                f"{path.name}/{MANIFEST}: schema_version is {version!r}, this program reads "
                f"{SCHEMA_VERSION}; export the model again"
            )
        digests = manifest.get("files")
        if not isinstance(digests, dict) or not all(isinstance(d, str) for d in digests.values()):
            raise CorruptArtifact(f"{path.name}/{MANIFEST}: 'files' is no table of digests")
        _check_files(path, digests)
        tokenizer = Tokenizer.from_file(path / "tokenizer.json")
        fim_json = _read_json(path / "fim.json")
        fim = _bind(path, fim_json, tokenizer)
        config = _read_json(path / "config.json")
        _check_sizes(path, config, tokenizer, fim_json.get("max_context"))
        return cls(
            path=path,
            name=str(manifest.get("name") or path.name),
            digest=folder_digest(digests),
            config=config,
            tokenizer=tokenizer,
            fim=fim,
            max_context=fim_json["max_context"],
            lineage=manifest.get("lineage", {}),
            validation=manifest.get("validation", {}),
        )

    @staticmethod
    def save(
        source: Path,
        target: Path,
        *,
        name: str,
        family: str,
        order: str,
        max_context: int,
        lineage: Mapping[str, Any],
        validation: Mapping[str, Any],
    ) -> ModelArtifact:
        """Publish the checkpoint folder `source` as the artifact `target`, whole or not at all.

        Raises:
            ConfigError: `target` exists, or a sentinel of `family` is not one token.
            CorruptArtifact: `source` lacks a required file.
        """
        if target.exists():
            raise ConfigError(f"{target} exists; choose another --out or remove it")
        missing = [n for n in REQUIRED if n != "fim.json" and not (source / n).is_file()]
        if missing:
            raise CorruptArtifact(f"{source.name}: missing {', '.join(missing)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            for file in sorted(source.iterdir()):
                if file.is_file() and file.name not in (MANIFEST, "fim.json"):
                    shutil.copyfile(file, work / file.name)
            tokenizer = Tokenizer.from_file(work / "tokenizer.json")
            fim = FimFormat.bind(family, tokenizer, order)
            write_json(
                work / "fim.json",
                {
                    "family": family,
                    "order": order,
                    "sentinel_ids": fim.ids,
                    "stop_ids": list(fim.stop_ids),
                    "max_context": max_context,
                },
            )
            write_json(
                work / MANIFEST,
                {
                    "schema_version": SCHEMA_VERSION,
                    "name": name,
                    "files": {f.name: file_digest(f) for f in sorted(work.iterdir())},
                    "lineage": dict(lineage),
                    "validation": dict(validation),
                },
            )
            work.chmod(0o755)
            ModelArtifact.load(work)
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        return ModelArtifact.load(target)


def file_digest(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(digests: Mapping[str, str]) -> str:
    """Hex sha256 over names and digests, independent of their order."""
    rows = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(rows.encode()).hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON file and bring it to the disk."""
    with path.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def _read_json(path: Path) -> dict[str, Any]:
    name = f"{path.parent.name}/{path.name}"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorruptArtifact(f"{name} is missing; the folder is no finished artifact") from None
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise CorruptArtifact(f"{name}: expected a JSON object")
    return value


def _check_files(path: Path, digests: Mapping[str, str]) -> None:
    present = {f.name for f in path.iterdir() if f.is_file()} - {MANIFEST}
    missing = sorted({*REQUIRED, *digests} - present)
    if missing:
        raise CorruptArtifact(f"{path.name}: missing {', '.join(missing)}")
    if not any(name.endswith(".safetensors") for name in digests):
        raise CorruptArtifact(f"{path.name}: no .safetensors file is listed in {MANIFEST}")
    for name in sorted(present - set(digests)):
        raise CorruptArtifact(f"{path.name}/{name} is not listed in {MANIFEST}; remove it")
    for name, expected in digests.items():
        found = file_digest(path / name)
        if found != expected:
            raise CorruptArtifact(
                f"{path.name}/{name} was altered: sha256 {found[:12]}…, the manifest says "
                f"{expected[:12]}…; copy the artifact again"
            )


def _check_sizes(
    path: Path, config: Mapping[str, Any], tokenizer: Tokenizer, max_context: object
) -> None:
    rows = config.get("vocab_size")
    if not isinstance(rows, int) or tokenizer.vocab_size > rows:
        raise CorruptArtifact(
            f"{path.name}: the tokenizer has {tokenizer.vocab_size} ids, the model {rows!r}"
        )
    positions = config.get("max_position_embeddings", max_context)
    if not isinstance(max_context, int) or not 1 <= max_context <= positions:
        raise CorruptArtifact(
            f"{path.name}/fim.json: max_context {max_context!r} does not fit the model's "
            f"{positions!r} positions"
        )


def _bind(path: Path, fim_json: Mapping[str, Any], tokenizer: Tokenizer) -> FimFormat:
    try:
        fim = FimFormat.bind(fim_json["family"], tokenizer, fim_json["order"])
        expected = {str(k): int(v) for k, v in fim_json["sentinel_ids"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptArtifact(f"{path.name}/fim.json: {error!r}") from error
    except ConfigError as error:
        raise CorruptArtifact(f"{path.name}/fim.json: {error}") from error
    if expected != fim.ids:
        wrong = sorted(t for t in {*expected, *fim.ids} if expected.get(t) != fim.ids.get(t))
        raise CorruptArtifact(f"{path.name}/fim.json: wrong ids for {', '.join(wrong)}")
    return fim
