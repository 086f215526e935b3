"""`manifest.json` of an export: what belongs to it, byte for byte, and what may run it.

Knows nothing about what the files mean. Read `check_export` first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tabwright.artifact import MANIFEST, file_digest, write_json
from tabwright.errors import ConfigError, CorruptArtifact

SCHEMA_VERSION = 1
CONTAINER_TAG = "tritonserver:26.07-trtllm-python-py3"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEYS = (
    *("schema_version", "name", "target", "files", "container", "versions", "source"),
    *("checkpoint_digest", "lineage", "validation"),
)


def check_export(folder: Path) -> dict[str, Any]:
    """Compare every file with its digest and return the manifest.

    Raises:
        CorruptArtifact: a file is missing, altered or unknown, the manifest cannot be read, lacks
            a field, or names a container that could be any.
    """
    place = f"{folder.name}/{MANIFEST}"
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        expected = dict(manifest["files"])
        missing = [key for key in _KEYS if key not in manifest]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{place}: {error!r}") from error
    if missing:
        raise CorruptArtifact(f"{place}: lacks {', '.join(missing)}; export the model again")
    found = file_digests(folder)
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            what = "missing" if name not in found else "altered or not listed"
            raise CorruptArtifact(f"{folder.name}/{name} is {what}; export or copy the model again")
    if manifest["container"] is not None:
        try:
            check_container(manifest["container"]["tag"], manifest["container"]["digest"])
        except (ConfigError, KeyError, TypeError) as error:
            raise CorruptArtifact(f"{place}: container: {error}") from error
    return manifest


def check_container(tag: str, digest: str | None) -> None:
    """Refuse a container that is named loosely.

    Raises:
        ConfigError: the tag is none, or `latest`; the digest is there and is no sha256.
    """
    version = tag.partition(":")[2]
    if not version or version == "latest":
        raise ConfigError(f"container tag {tag!r}: name a release, which `latest` is not")
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise ConfigError(f"--container-digest {digest}: give sha256: and 64 hex digits")


def fill_container_digest(folder: Path, digest: str) -> None:
    """Write into a published export which image will run it.

    Raises:
        ConfigError: it is no sha256, the export has another one, or needs no container.
        CorruptArtifact: the export is not whole.
    """
    check_container(CONTAINER_TAG, digest)
    manifest = check_export(folder)
    container = manifest["container"]
    if container is None:
        raise ConfigError(f"--container-digest: {folder} is for a CPU and has no container")
    if container["digest"] not in (None, digest):
        raise ConfigError(
            f"--container-digest: {folder} was made for {container['digest']}; export it again"
        )
    container["digest"] = digest
    fresh = folder.with_name(f".{folder.name}-{MANIFEST}")
    write_json(fresh, manifest)
    fresh.replace(folder / MANIFEST)


def file_digests(folder: Path) -> dict[str, str]:
    """Hex sha256 of every file but the manifest, by its name from the folder."""
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    names = {f.relative_to(folder).as_posix(): f for f in files if "__pycache__" not in f.parts}
    return {name: file_digest(f) for name, f in names.items() if name != MANIFEST}
