"""A real redis-server of a test's own, on a free loopback port, with its files in a folder."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run Redis, keeping every acknowledged write; give its address."""
    chosen = port or _free_port()
    command = [
        "redis-server", "--port", str(chosen), "--bind", "127.0.0.1", "--dir", str(folder),
        "--save", "", "--appendonly", "yes", "--appendfsync", "always",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait(process, chosen)
            yield f"redis://127.0.0.1:{chosen}/0"
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            assert process.poll() is None, "redis-server ended"
        time.sleep(0.1)
    raise TimeoutError("redis-server does not answer")
