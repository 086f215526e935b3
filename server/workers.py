"""Several gateway processes on one socket: start them, restart who dies, pass on signals, end all.

The parent listens and answers nothing; its workers accept from the same socket, so connections
that wait in its backlog outlive a worker. Each worker has an engine, a line, limits, sessions and a
memory of its own. Their counters live in files of a private folder, so any of them answers
`/metrics` for all, and what a dead one counted stays. Read `Workers.run` first.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, TaskStatus
from prometheus_client.multiprocess import mark_process_dead

from server.child import child_environment
from server.listener import bind
from server.live_settings import Change, LiveSettings
from server.logs import log_to_stderr
from server.settings import ServerSettings

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  # who lived so long starts again without a pause worth mentioning
_LAST_S = 15.0  # beyond the drain: for the engine to end


class Workers:
    """The worker processes of one gateway."""

    def __init__(self, settings: ServerSettings, announce: Callable[[str, int], None]) -> None:
        """Prepare; `announce` is called with the model and the port once all of them answer."""
        self._live = LiveSettings(settings)
        self._live.follow(lambda now: log_to_stderr(now.log_level, now.log_format))
        self._announce = announce
        self._processes: dict[int, Process] = {}
        self._ready: set[int] = set()
        self._announced = False
        self._orders: dict[int, int] = {}  # the ends of pipes that are written to
        self._stopping = anyio.Event()
        self._port = 0
        self._exit_code = 0

    async def run(self, reload: Callable[..., Coroutine[Any, Any, None]]) -> int:
        """Serve until a stop signal and return the exit code.

        reload: runs beside, with a `task_status`, and hands new settings to `take`.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        with (
            bind(self._live.now) as listening,
            tempfile.TemporaryDirectory(prefix="tabwright-metrics-") as folder,
        ):
            self._port = listening.getsockname()[1]
            async with anyio.create_task_group() as tasks:
                await tasks.start(self._signals)
                tasks.start_soon(self._end_late_ones)
                await tasks.start(reload)
                async with anyio.create_task_group() as keepers:
                    for number in range(self._live.now.workers):
                        keepers.start_soon(self._keep, number, listening, Path(folder))
                tasks.cancel_scope.cancel()
        return self._exit_code

    def take(self, wanted: ServerSettings) -> Change:
        """Use new settings in every worker."""
        change = self._live.replace(wanted)
        if change.applied:
            for number, order_end in self._orders.items():
                _tell(order_end, json.dumps(self._settings(number)))
        return change

    async def _signals(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self._stop()

    def _stop(self) -> None:
        """Pass a stop signal on; a second one ends what is left, as in a single gateway."""
        self._stopping.set()
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)

    async def _end_late_ones(self) -> None:
        await self._stopping.wait()
        await anyio.sleep(self._live.now.drain_s + _LAST_S)
        for process in self._processes.values():
            process.kill()

    async def _keep(self, number: int, listening: socket.socket, folder: Path) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            started = anyio.current_time()
            code = await self._one(number, listening, folder)
            if self._stopping.is_set():
                return
            if not self._announced:  # it never worked: starting again would not help
                self._exit_code = code if code > 0 else 4
                self._stop()
                return
            if anyio.current_time() - started > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            logger.error(
                "a worker died, another is started",
                extra={"worker": number, "exit_code": code, "pause_s": pause_s},
            )
            with anyio.move_on_after(pause_s):
                await self._stopping.wait()
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _one(self, number: int, listening: socket.socket, folder: Path) -> int:
        """Run one worker to its end; return its exit code, negative for a signal."""
        theirs, ours = os.pipe()
        process = await anyio.open_process(
            # -P: the folder the gateway was started in may have a package `server` of its own.
            [sys.executable, "-P", "-m", "server.worker"],
            stdin=theirs,
            stderr=None,
            env=child_environment() | {"PROMETHEUS_MULTIPROC_DIR": str(folder)},
            pass_fds=[listening.fileno()],
            # Ctrl-C in a terminal reaches the whole group; the parent passes it on, once.
            start_new_session=True,
        )
        os.close(theirs)
        async with process:
            self._processes[number], self._orders[number] = process, ours
            try:
                order = {"settings": self._settings(number), "listening": listening.fileno()}
                _tell(ours, json.dumps(order | {"metrics": str(folder)}))
                if self._stopping.is_set():
                    process.send_signal(signal.SIGTERM)
                return await self._watch(number, process)
            finally:
                del self._processes[number], self._orders[number]
                os.close(ours)
                self._ready.discard(number)
                mark_process_dead(process.pid, str(folder))  # type: ignore[no-untyped-call]

    async def _watch(self, number: int, process: Process) -> int:
        said = b""
        assert process.stdout is not None
        async for data in process.stdout:
            said += data
            if said.endswith(b"\n"):
                self._answers(number, json.loads(said)["ready"])
                said = b""
        return await process.wait()

    def _answers(self, number: int, model: str) -> None:
        self._ready.add(number)
        if not self._announced and len(self._ready) == self._live.now.workers:
            self._announced = True
            self._announce(model, self._port)

    def _settings(self, number: int) -> dict[str, Any]:
        settings = self._live.now.model_dump(mode="json")
        if settings["events_file"]:  # two processes may not put one file aside
            file = Path(settings["events_file"])
            settings["events_file"] = str(file.with_stem(f"{file.stem}-{number}"))
        return settings


def _tell(order_end: int, line: str) -> None:
    """Write one line without waiting: a pipe holds many, and a dead worker hears nothing."""
    with suppress(BrokenPipeError):
        os.write(order_end, line.encode() + b"\n")
