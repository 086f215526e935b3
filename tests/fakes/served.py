"""`tabwright serve` as an operator runs it: a process of its own, its log in a file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

PATIENCE_S = 60.0  # a process starts in a second or two, but the machine may be busy


@dataclass
class Served:
    """A running `tabwright serve` and what it has logged so far."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of a JSON log; one that is no JSON fails here."""
        return [json.loads(row) for row in self.text.splitlines(keepends=True) if row[-1] == "\n"]

    def wait_lines(self, wanted: Callable[[dict[str, Any]], bool], count: int = 1) -> Any:
        """The lines that are `wanted`, once there are `count` of them."""
        self.wait(lambda: len(list(filter(wanted, self.lines()))) >= count, f"{count} lines")
        return list(filter(wanted, self.lines()))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition`; fails loudly, with the log, when it does not come."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < PATIENCE_S, f"{what}: did not happen\n{self.text}"
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """The process and everything it started."""
        mother = psutil.Process(self.process.pid)
        return [mother, *mother.children(recursive=True)]

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(sign)
        return self.process.wait(PATIENCE_S)


@contextmanager
def serve_command(
    model: Path,
    folder: Path,
    *flags: str,
    engine: str = "scripted",
    inside: Sequence[str] = (),
    **environ: str,
) -> Iterator[Served]:
    """Run the command for the length of the block. environ: options by variable, in small letters.

    inside: a command that becomes this one, somewhere else. After the block the process and all it
    started must be gone.
    """
    log = folder / "serve.log"
    variables = {f"TABWRIGHT_SERVER_{key.upper()}": value for key, value in environ.items()}
    with log.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [
                *(*inside, sys.executable, "-m", "tabwright", "serve", "--engine", engine),
                *("--model", str(model), "--port", "0", *flags),
            ],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    try:
        said = ""
        while "Ctrl-C stops" not in said:
            row = process.stdout.readline()
            assert row, f"it did not start: {log.read_text(encoding='utf-8')}"
            said += row
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address, said
        served = Served(process, address[0], log)
        yield served
        started = served.processes() if process.poll() is None else []
        if process.poll() is None:
            served.stop()
        assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1], "processes are left"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
