"""Which files the repository tests look at: those that git tracks."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("tabwright", "server", "training", "evalkit", "ab", "loadtest")


@cache
def tracked() -> tuple[Path, ...]:
    """Every tracked file that is there, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30
    ).stdout
    paths = (Path(name) for name in listed.decode().split("\0") if name)
    return tuple(path for path in paths if (ROOT / path).is_file())


def python_files() -> tuple[Path, ...]:
    """The tracked Python sources."""
    return tuple(path for path in tracked() if path.suffix == ".py")


def modules() -> tuple[str, ...]:
    """Dotted names of every module of our packages, without `__main__`."""
    found = []
    for path in python_files():
        if path.parts[0] in PACKAGES and path.stem != "__main__":
            parts = path.with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return tuple(sorted(found))


def normal(name: str) -> str:
    """Name of a distribution as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
