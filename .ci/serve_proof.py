"""Prove `make serve` the way a newcomer meets it: set-up, ready, one completion, Ctrl-C, again.

Standard library only. Every wait is bounded. Prints seconds, exits 1 with the server's last lines
when a step fails. Not covered: the quality of the completion. Read `main` first.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETUP_S = 480
SECOND_START_S = 60
DRAIN_S = 30
PROMPT = "def add(a, b):\n    return "


def main() -> int:
    """Start twice; the first start includes the set-up."""
    for label, limit_s in (("first start", SETUP_S), ("second start", SECOND_START_S)):
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "serve.log"
            try:
                with make_serve(port, log) as process:
                    begun = time.monotonic()
                    wait_ready(port, process, limit_s)
                    text = complete(port)
                    print(f"make serve, {label}: {time.monotonic() - begun:.1f} s, {text!r}")
                    interrupt(process, log)
            except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                print(f"make serve, {label}: {error!r}", file=sys.stderr)
                print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
                return 1
    print(f"  torch in the environment: {torch_is_there()}")
    return 0


def torch_is_there() -> str:
    """Tell whether the proof also proved that serving needs no torch."""
    code = "import importlib.util as u; print('yes' if u.find_spec('torch') else 'no')"
    done = subprocess.run(
        [".venv/bin/python", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def free_port() -> int:
    """Ask the kernel for a port on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def make_serve(port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `make serve` in a process group of its own; leaving kills what is left of it."""
    command = ["make", "serve", f"PORT={port}", "HOST=127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if group_alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def wait_ready(port: int, process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Return when /readyz answers 200."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"make serve ended with {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"not ready after {limit_s} s")


def complete(port: int) -> str:
    """Ask for one completion; refuse an empty one."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions",
        data=json.dumps({"prompt": PROMPT, "max_tokens": 16}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text = str(json.load(response)["choices"][0]["text"])
    if not text:
        raise RuntimeError("the completion is empty")
    return text


def interrupt(process: subprocess.Popen[bytes], log: Path) -> None:
    """Press Ctrl-C: the whole group gets SIGINT, and must be gone without a traceback."""
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=DRAIN_S)
    while group_alive(process.pid):
        if time.monotonic() - begun > DRAIN_S:
            raise RuntimeError(f"processes left {DRAIN_S} s after Ctrl-C")
        time.sleep(0.05)
    if "Traceback (most recent call last)" in log.read_text(errors="replace"):
        raise RuntimeError("Ctrl-C ended in a traceback")
    print(f"  Ctrl-C: gone after {time.monotonic() - begun:.1f} s")


def group_alive(group: int) -> bool:
    """Tell whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
