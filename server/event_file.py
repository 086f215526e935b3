"""Events as lines of JSON in a file that grows to a size and is then put aside.

Lines are appended whole, so several gateways may share a file, and are handed to the system at
once: they outlive the process, not a power cut. A line that a full disk cut short is followed by a
whole one; after an error events may stand in it twice, with the same id. Files that were put aside
are never removed here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic_core import to_json

from server.telemetry import SuggestionEvent
from tabwright.errors import ConfigError


class EventFile:
    """One file of events."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open `path` for appending; it is put aside when it has `max_bytes`.

        Raises:
            ConfigError: it cannot be opened.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._torn = False
        try:
            self._file = _opened(path)
        except OSError as error:
            raise ConfigError(
                f"events_file: {path} cannot be written: {error.strerror}; choose another path"
            ) from None

    def append(self, events: Sequence[SuggestionEvent]) -> None:
        """Write one line for each event.

        Raises:
            OSError: not all of them are written.
        """
        self._turn()
        data = b"".join(line_of(event) for event in events)
        if self._torn:
            data = b"\n" + data
        while data:
            self._torn = True
            data = data[os.write(self._file, data) :]
        self._torn = False

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _turn(self) -> None:
        """Put a full file aside, and follow when somebody else has."""
        ours = os.fstat(self._file)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is not None and there.st_ino == ours.st_ino:
            if ours.st_size < self._max_bytes:
                return
            self._path.rename(f"{self._path}.{time.time_ns()}")
        fresh = _opened(self._path)
        os.close(self._file)
        self._file = fresh


def line_of(event: SuggestionEvent) -> bytes:
    """One event as one line; what does not belong to its kind is left out."""
    fields = {name: value for name, value in asdict(event).items() if value is not None}
    return to_json(fields) + b"\n"


def _opened(path: Path) -> int:
    return os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)  # it names people
