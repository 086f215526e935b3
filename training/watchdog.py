"""Name the rank that hangs, and end what waits for it.

Each rank counts what it has done: every batch read, every forward and backward pass. A thread
writes the count into the run's folder once a second. If a rank gets no further for too long, its
thread looks at all counts: the ranks that are furthest behind, or whose thread is dead too, are
those that the others wait for. It says so, with where its own main thread stands, and ends the
process, so that torchrun starts all ranks again from the last checkpoint.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

logger = logging.getLogger(__name__)

HUNG = 75  # exit code: try again
_BEAT_S = 1.0
_DEAD_BEATS = 10


class Beat(NamedTuple):
    """What a rank last said. things: done so far; at: seconds since the epoch."""

    rank: int
    host: str
    things: int
    doing: str
    at: float


class Watchdog:
    """Watches this rank from a thread while entered. limit_s: how long one thing may take."""

    def __init__(self, folder: Path, rank: int, world: int, limit_s: float) -> None:
        """Nothing happens before it is entered."""
        self._folder, self._rank, self._world, self._limit_s = folder, rank, world, limit_s
        self._count, self._doing = 0, "start"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._file(self._rank).unlink(missing_ok=True)

    def does(self, what: str) -> None:
        """Note that the rank begins something; costs nothing."""
        self._count += 1
        self._doing = what

    def _watch(self) -> None:
        count, since = -1, time.monotonic()
        while not self._ended.wait(_BEAT_S):
            self._write()
            if self._count != count:
                count, since = self._count, time.monotonic()
            elif time.monotonic() - since > self._limit_s:
                self._give_up()

    def _give_up(self) -> None:
        beats = [beat for rank in range(self._world) if (beat := self._read(rank))]
        logger.error("no progress for %.0f s: %s", self._limit_s, blame(beats, time.time()))
        faulthandler.dump_traceback(sys.stderr)
        os._exit(HUNG)

    def _file(self, rank: int) -> Path:
        return self._folder / f"rank-{rank:05d}.json"

    def _write(self) -> None:
        beat = Beat(self._rank, socket.gethostname(), self._count, self._doing, time.time())
        work = self._file(self._rank).with_suffix(".partial")
        try:
            work.write_text(json.dumps(beat), encoding="utf-8")
            work.rename(self._file(self._rank))
        except OSError as error:  # a full disk is no reason to end the run
            logger.warning("watchdog: %s", error)

    def _read(self, rank: int) -> Beat | None:
        try:
            return Beat(*json.loads(self._file(rank).read_text("utf-8")))
        except (OSError, ValueError):
            return None


def blame(beats: Sequence[Beat], now: float) -> str:
    """Say which ranks the others wait for."""
    dead = [beat for beat in beats if now - beat.at > _DEAD_BEATS * _BEAT_S]
    least = min(beat.things for beat in beats)
    behind = dead or [beat for beat in beats if beat.things == least]
    named = ", ".join(f"rank {beat.rank} on {beat.host} ({beat.doing})" for beat in behind)
    if dead:
        return f"{named} gave no sign of life, the others wait for it"
    if len(behind) == len(beats):
        return f"all ranks stand at the same place: {named}"
    return f"{named} is behind, the others wait for it"
