"""Events that wait on disk while their store is away: files of lines in a folder.

What is written here has reached the disk, so it may be acknowledged. Several gateways may share the
folder: each appends to a file of its own, under a lock, and whoever finds a file without an owner,
its own or one of a gateway that was killed, empties it into the store. An event may get there
twice; stores keep it once. Read `Spool.write` and `Spool.empty`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ab.events import Event, from_json, to_json
from tabwright.errors import ConfigError

logger = logging.getLogger(__name__)

_BATCH = 1_000
_SUFFIX = ".jsonl"


class Spool:
    """One folder of events."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Make `folder` if need be; its files have at most `most_bytes` in all.

        Raises:
            ConfigError: nothing can be written there.
        """
        self._folder = folder
        self._most_bytes = most_bytes
        self._file: int | None = None
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it names people
        except OSError as error:
            raise ConfigError(f"spool_dir: {folder} cannot be made: {error.strerror}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"spool_dir: {folder} cannot be written; choose another folder")

    def __len__(self) -> int:
        """Bytes that wait."""
        size = 0
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # somebody has emptied it
                size += path.stat().st_size
        return size

    def left(self) -> bool:
        """Whether there are files, be they empty, as a writer leaves one that was killed."""
        return any(self._folder.glob(f"*{_SUFFIX}"))

    def write(self, events: Sequence[Event]) -> None:
        """Put events on the disk.

        Raises:
            OSError: none of them is kept: the disk, or the folder's limit, is full.
        """
        data = "".join(to_json(event) + "\n" for event in events).encode()
        with self._lock:
            if len(self) + len(data) > self._most_bytes:
                raise OSError(errno.ENOSPC, "spool_mb is reached")
            if self._file is None:
                self._file = _owned(self._folder / f"{uuid.uuid4().hex}{_SUFFIX}", os.O_CREAT)
            assert self._file is not None
            before = os.fstat(self._file).st_size
            try:
                left = data
                while left:
                    left = left[os.write(self._file, left) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def empty(self, keep: Callable[[Sequence[Event]], object]) -> int:
        """Hand what waits to `keep`, file by file, and forget it; tell how many events.

        Raises:
            StoreAway: `keep` does not take them; they stay.
        """
        self.close()
        moved = 0
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            file = _owned(path)
            if file is None:
                continue
            try:
                for batch in _batches(path):
                    keep(batch)
                    moved += len(batch)
                path.unlink(missing_ok=True)
            finally:
                os.close(file)
        return moved

    def close(self) -> None:
        """Let anybody empty what was written."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _owned(path: Path, flags: int = 0) -> int | None:
    """Open a file for ourselves alone; None: somebody else has it, or has emptied it."""
    try:
        file = os.open(path, os.O_APPEND | os.O_RDWR | flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    except BlockingIOError:
        pass
    os.close(file)
    return None


def _batches(path: Path) -> Iterator[list[Event]]:
    batch: list[Event] = []
    with path.open("rb") as lines:
        for line in lines:
            try:
                batch.append(from_json(line))
            except (ValueError, TypeError, KeyError):
                # Its writer was killed on the way, so nobody was told that it was kept.
                logger.warning("a line of the spool is cut short", extra={"bytes": len(line)})
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
