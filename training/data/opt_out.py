"""The list of repositories whose owners do not want them trained on.

A text file with a repository a line; `#` starts a comment. A package is named with its version
(`left==1.0`) or without. What already holds a repository is found in `affected.py`.
"""

from __future__ import annotations

from pathlib import Path

from tabwright.errors import ConfigError


def read_list(file: Path) -> frozenset[str]:
    """Read the repositories of an opt-out list.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        rows = file.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"opt_out: {error}; give a text file with a repository a line") from error
    names = (row.split("#", 1)[0].strip().lower() for row in rows)
    return frozenset(name for name in names if name)


def is_listed(repo: str, names: frozenset[str]) -> bool:
    """Whether a repository, or the package that it is a version of, is on the list."""
    name = repo.lower()
    return name in names or name.split("==", 1)[0] in names
