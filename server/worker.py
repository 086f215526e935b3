"""One of several gateway processes on one socket, started and told what to do by `server.workers`.

Orders come as lines of JSON on stdin: the first has the settings, the socket and the folder of the
shared metrics, each later one new settings. The end of stdin means that the parent is gone; then
this process drains and ends, as on a signal. On stdout it says once that it answers.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import anyio
from anyio.abc import TaskStatus
from pydantic import BaseModel

from server.gateway import Gateway
from server.listener import Listener, loop_options
from server.logs import log_to_stderr
from server.serving import serve
from server.settings import ServerSettings
from tabwright.cli import run_command

_REFRESH_S = 1.0
_READ_BYTES = 65_536


class Start(BaseModel):
    """The first order."""

    settings: ServerSettings
    listening: int
    metrics: Path


def main() -> int:
    """Serve until told to stop; return the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent reads the configuration
    with open(0, "rb", buffering=0, closefd=False) as orders:  # unbuffered: the rest comes later
        start = Start.model_validate_json(orders.readline())
    log_to_stderr(start.settings.log_level, start.settings.log_format)

    async def run() -> None:
        listening = socket.socket(fileno=start.listening)
        await serve(start.settings, _ready, beside, listening)

    async def beside(_: Listener, gateway: Gateway, *, task_status: TaskStatus[None]) -> None:
        gateway.reception.metrics.share(start.metrics)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey, gateway, start.metrics)
            task_status.started()
            while True:
                gateway.reception.metrics.refresh()
                await anyio.sleep(_REFRESH_S)

    return run_command(
        "tabwright serve", lambda: anyio.run(run, backend_options=loop_options()) or 0
    )


def _ready(model: str, port: int) -> None:
    del port
    sys.stdout.write(json.dumps({"ready": model}) + "\n")
    sys.stdout.flush()


async def _obey(gateway: Gateway, metrics: Path) -> None:
    os.set_blocking(0, False)
    buffer = b""
    while True:
        await anyio.wait_readable(0)
        data = os.read(0, _READ_BYTES)
        if not data:
            # The parent is gone and cleans nothing up; what is open stays usable until we end.
            shutil.rmtree(metrics, ignore_errors=True)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            gateway.live.replace(ServerSettings.model_validate_json(line))


if __name__ == "__main__":
    sys.exit(main())
