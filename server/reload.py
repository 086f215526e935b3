"""Reading the configuration again while the gateway serves: on SIGHUP, and when the file changes.

A file with one mistake changes nothing at all. SIGHUP also tells that the terminal was closed; then
the program ends as it does on Ctrl-C. The file is looked at once a second and read when it has
stopped changing, so that an editor that writes it in two goes is not met half-way. Read
`Reloader.run` first.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from server.live_settings import Change
from server.settings import ServerSettings
from tabwright.errors import ConfigError

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_Stamp = tuple[int, int, int] | None


class Reloader:
    """Reads the configuration again and hands it on."""

    def __init__(
        self,
        file: Path,
        read: Callable[[], ServerSettings],
        take: Callable[[ServerSettings], Change],
    ) -> None:
        """Read with `read`, which may look into `file`; `take` uses what it returns."""
        self._file = file
        self._read = read
        self._take = take
        self._there = file.exists()
        self._terminal = os.isatty(0)

    async def run(self, *, watch: bool, task_status: TaskStatus[None]) -> None:
        """Reload on every SIGHUP, and with `watch` whenever the file has changed."""
        async with anyio.create_task_group() as tasks:
            if watch:
                tasks.start_soon(self._watch)
            with anyio.open_signal_receiver(signal.SIGHUP) as signals:
                task_status.started()
                async for _ in signals:
                    if self._terminal and not os.isatty(0):  # closed: as every program, end
                        os.kill(os.getpid(), signal.SIGTERM)
                    else:
                        self.reload()

    def reload(self) -> None:
        """Read the configuration and use it, or say why not and keep the old one."""
        try:
            if self._there and not self._file.exists():
                raise ConfigError(f"{self._file}: the file is gone")
            wanted = self._read()
        except ConfigError as error:
            logger.error("the configuration is wrong, the old one stays: %s", error)
            return
        self._there = self._file.exists()
        applied, stuck = self._take(wanted)
        logger.info("configuration read again", extra={"changed": ",".join(applied) or "nothing"})
        if stuck:
            logger.error(
                "these options change only with a restart and keep their value: %s",
                ", ".join(stuck),
            )

    async def _watch(self) -> None:
        read = seen = _stamp(self._file)
        while True:
            await anyio.sleep(_LOOK_S)
            now = _stamp(self._file)
            if now == seen != read:
                read = now
                self.reload()
            seen = now


def _stamp(file: Path) -> _Stamp:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
