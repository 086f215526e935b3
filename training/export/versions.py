"""Which version of an export is served: the link `current` beside the versions.

    exports/mine/1/  2/      exported folders
    exports/mine/current     link to the one that is served
    exports/mine/previous    link to the one before

Links are replaced by a rename, so a reader sees the old or the new one, never none.
"""

from __future__ import annotations

import os
from pathlib import Path

from tabwright.errors import ConfigError
from training.export.manifest import check_export

CURRENT = "current"
PREVIOUS = "previous"


def activate(export: Path) -> None:
    """Point `current` at this export and `previous` at what was current.

    Raises:
        ConfigError: it is no finished export, or `current` is something else than a link.
        CorruptArtifact: a file of it was altered since it was exported.
    """
    if not (export / "manifest.json").is_file():
        raise ConfigError(f"--out {export}: no finished export stands there")
    check_export(export)
    before = _target(export.parent / CURRENT)
    if before == export.name:
        return
    if before is not None:
        _point(export.parent / PREVIOUS, before)
    _point(export.parent / CURRENT, export.name)


def rollback(folder: Path) -> str:
    """Point `current` back at the previous version; a second time, forth again. Return its name.

    Raises:
        ConfigError: there is no previous version, or it is gone.
    """
    current, previous = _target(folder / CURRENT), _target(folder / PREVIOUS)
    if current is None or previous is None:
        raise ConfigError(f"{folder}: nothing to go back to; activate two versions first")
    if not (folder / previous / "manifest.json").is_file():
        raise ConfigError(f"{folder}/{previous}: the previous version is gone")
    _point(folder / CURRENT, previous)
    _point(folder / PREVIOUS, current)
    return previous


def _target(link: Path) -> str | None:
    if not link.is_symlink():
        if link.exists():
            raise ConfigError(f"{link} is no link; move it away")
        return None
    return os.readlink(link)


def _point(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
