"""The process that owns the model: `python -m server.engines.cpu_worker FD`.

It reads commands from the socket FD, steps OpenVINO's continuous-batching pipeline while there is
work, and reports once a step. One thread: `step()` holds the interpreter lock anyway. Idle, it
sleeps in `recv`; busy, it looks for commands between two steps. When its parent is gone the socket
says so and it exits. What a request may ask for has been checked in `cpu.py`; whether the pool has
room is counted there too. Read `serve` first.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from server.engines.cpu_batch import Batch, load_pipeline
from server.engines.cpu_messages import (
    Add,
    AskStats,
    Cancel,
    Inbox,
    Message,
    Ready,
    Shutdown,
    Start,
    StartFailed,
    StepReport,
    encode,
)
from server.engines.cpu_settings import WeightFormat
from server.engines.cpu_solo import SoloModel
from server.engines.ir import ensure_ir
from tabwright.errors import ConfigError, CorruptArtifact

_log = logging.getLogger(__name__)
_READ_BYTES = 1 << 18


class Parent:
    """The gateway's end of the socket, seen from here."""

    def __init__(self, end: socket.socket) -> None:
        """Take over the socket."""
        self._end = end
        self._inbox = Inbox()
        self.gone = False

    def commands(self, *, wait: bool) -> list[Message]:
        """What has come; with `wait`, sleep until something does. Empty when the parent is gone."""
        try:
            data = self._end.recv(_READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        self.gone = not data
        return self._inbox.feed(data)

    def send(self, message: Message) -> None:
        """Say something; a parent that is gone is noticed when listening."""
        try:
            self._end.sendall(encode(message))
        except ConnectionError:
            self.gone = True


def serve(parent: Parent) -> None:
    """Load what the first command says, then run until the parent leaves."""
    commands: list[Message] = []
    while not commands:
        commands = parent.commands(wait=True)
        if parent.gone:
            return
    start = commands.pop(0)
    assert isinstance(start, Start), "the first message is Start"
    batch = _load(parent, start)
    if batch is None:
        return
    while True:
        for command in commands:
            if isinstance(command, Shutdown):
                return
            if isinstance(command, AskStats):
                parent.send(batch.stats())
            if isinstance(command, Add | Cancel):
                batch.obey(command)
        if closed := batch.take_closed():
            parent.send(StepReport([], closed, []))
        if batch.busy:
            parent.send(batch.step())
        commands = parent.commands(wait=not batch.busy)
        if parent.gone:
            return


def _load(parent: Parent, start: Start) -> Batch | None:
    try:
        convert_s = _convert(start)
        began = time.perf_counter()
        try:
            pipeline = load_pipeline(start)
        except RuntimeError:
            # A damaged cache must not outlive its discovery.
            _log.warning("converted model cannot be loaded, converting again")
            shutil.rmtree(start.ir_folder, ignore_errors=True)
            _convert(start)
            pipeline = load_pipeline(start)
        batch = Batch(pipeline, SoloModel(start))
        batch.warm_up()
    except ConfigError as error:
        parent.send(StartFailed("config", str(error)))
    except CorruptArtifact as error:
        parent.send(StartFailed("corrupt", str(error)))
    except ModuleNotFoundError as error:
        parent.send(StartFailed("missing", str(error.name)))
    except (RuntimeError, OSError) as error:
        parent.send(StartFailed("broken", f"{type(error).__name__}: {error}"))
    else:
        kv_cache_mb = pipeline.get_metrics().kv_cache_size_in_bytes / 2**20
        parent.send(Ready(convert_s, time.perf_counter() - began, kv_cache_mb))
        return batch
    return None


def _convert(start: Start) -> float:
    seconds = ensure_ir(Path(start.checkpoint), Path(start.ir_folder), WeightFormat(start.weights))
    if seconds:
        # The C library keeps what the conversion freed, which is as much as the model.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
    return seconds


def main() -> None:
    """Run until told to stop; leave without destructors, which have nothing to save."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(True)
    os.dup2(2, 1)  # native libraries print; the gateway's output is not theirs
    serve(Parent(end))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
