"""Shards on storage that fsspec knows (S3, GCS, HTTP): a local copy to map into memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec

from tabwright.artifact import file_digest
from tabwright.errors import ConfigError, CorruptArtifact
from training.data.run import whole


def local_copy(address: str, folder: Path) -> Path:
    """Copy a shard folder below `folder`, under its digest; what is there already is not fetched.

    Raises:
        ConfigError: nothing can be read at the address.
        CorruptArtifact: a file is not what the manifest says.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(address)
        raw = filesystem.cat_file(f"{root}/manifest.json")
        manifest: dict[str, Any] = json.loads(raw)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"{address}: no shard folder can be read there ({error})") from error
    target = folder / str(manifest.get("digest", ""))[:16]
    for name, digest in manifest.get("files", {}).items():
        if Path(name).name != name:
            raise CorruptArtifact(f"{address}: the manifest names {name!r}, which is no file of it")
        if (target / name).is_file() and file_digest(target / name) == digest:
            continue
        with whole(target / name) as partial:
            try:
                filesystem.get_file(f"{root}/{name}", str(partial))
            except OSError as error:
                raise ConfigError(f"{address}/{name} cannot be read ({error})") from error
            if file_digest(partial) != digest:
                raise CorruptArtifact(f"{address}/{name} is not what the manifest says")
    with whole(target / "manifest.json") as partial:
        partial.write_bytes(raw)
    return target
