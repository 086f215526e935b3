"""One process at a time: what is made once, or may run once, is made and started under a lock."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tabwright.errors import ConfigError


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock file for the length of the block; it ends with the process that holds it.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = lock.open("w")
    except OSError as error:
        raise ConfigError(
            f"cannot write to {lock.parent} ({error.strerror}); name a folder of yours"
        ) from None
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
