"""Reading results out of a folder that an untrusted program filled, after it is dead."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import PurePosixPath


def collect(folder: int, paths: Iterable[str], limit_bytes: int) -> dict[str, bytes]:
    """Read regular files below an open folder, following no link, within a limit for all together.

    What is missing, is no plain file or is too large is left out. Closes the folder.
    """
    found: dict[str, bytes] = {}
    try:
        for path in paths:
            content = _read(folder, path, limit_bytes)
            if content is not None:
                found[path] = content
                limit_bytes -= len(content)
    finally:
        os.close(folder)
    return found


def _read(folder: int, path: str, limit_bytes: int) -> bytes | None:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError(f"{path!r} is not a path inside the working folder")
    at = os.dup(folder)
    try:
        for part in parts[:-1]:
            at = _step(at, part, os.O_DIRECTORY)
        at = _step(at, parts[-1], 0)
        state = os.fstat(at)
        if not stat.S_ISREG(state.st_mode) or state.st_size > limit_bytes:
            return None
        with open(at, "rb", closefd=False) as file:
            return file.read(limit_bytes)
    except OSError:
        return None
    finally:
        os.close(at)


def _step(at: int, part: str, flags: int) -> int:
    """Open one component below a folder and close the folder; a FIFO must not block."""
    below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags, dir_fd=at)
    os.close(at)
    return below
