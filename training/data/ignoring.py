"""Walk a folder that git does not manage, and leave out what its .gitignore files name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

_NEVER = frozenset({".git", ".hg", ".svn", "__pycache__"})


def walk_unmanaged(root: Path) -> Iterator[Path]:
    """Yield regular files in order; a folder that cannot be read is yielded itself."""
    specs: dict[Path, tuple[tuple[Path, GitIgnoreSpec], ...]] = {}
    unreadable: list[Path] = []
    for place, folders, names in os.walk(
        root, onerror=lambda e: unreadable.append(Path(e.filename))
    ):
        folder = Path(place)
        yield from unreadable
        unreadable.clear()
        above = specs.pop(folder, ())
        mine = (*above, *((folder, spec) for spec in _spec(folder, names)))
        kept = (name for name in folders if name not in _NEVER)
        folders[:] = sorted(name for name in kept if not _ignored(folder / name, mine, "/"))
        specs.update((folder / name, mine) for name in folders)
        for name in sorted(names):
            path = folder / name
            if not path.is_symlink() and path.is_file() and not _ignored(path, mine):
                yield path
    yield from unreadable


def _spec(folder: Path, names: list[str]) -> Iterator[GitIgnoreSpec]:
    if ".gitignore" in names:
        try:
            text = (folder / ".gitignore").read_text("utf-8", "replace")
        except OSError:
            return
        yield GitIgnoreSpec.from_lines(text.splitlines())


def _ignored(path: Path, specs: tuple[tuple[Path, GitIgnoreSpec], ...], end: str = "") -> bool:
    """Ask the nearest .gitignore first; those above decide what it says nothing of."""
    for folder, spec in reversed(specs):
        verdict = spec.check_file(path.relative_to(folder).as_posix() + end).include
        if verdict is not None:
            return verdict
    return False
