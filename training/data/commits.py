"""The commit that a git checkout is at, for the lineage of its files."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=4096)
def commit_at(folder: Path, root: Path) -> str:
    """Name the commit of the nearest checkout from `folder` up to `root`, "" where there is none.

    Files that were changed since, or never committed, count to the commit that is checked out.
    """
    if (folder / ".git").exists():
        command = ["git", "-C", str(folder), "rev-parse", "--verify", "-q", "HEAD"]
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except FileNotFoundError:  # there is no git on this machine
            return ""
    return "" if folder == root else commit_at(folder.parent, root)
