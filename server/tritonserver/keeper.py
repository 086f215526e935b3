"""A Triton that is started again when it dies, on the same ports, while a gateway stands before it.

The gateway itself notices a server that is back, see `server/engines/triton_link.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.tritonserver.node import Node, Running
from tabwright.errors import TabwrightError

_LOOK_S = 0.5
_SELDOM_S = 30.0  # between attempts that fail
_START_S = 60.0
_log = logging.getLogger(__name__)


@contextmanager
def kept(node: Node, told: Running) -> Iterator[None]:
    """Start it again whenever it has died; one that was ended with `down` stays ended."""
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(node, told, over), name="triton-keeper")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(node: Node, told: Running, over: threading.Event) -> None:
    pause_s = _LOOK_S
    while not over.wait(pause_s):
        if node.told_to_end or node.running() is not None:
            pause_s = _LOOK_S
            continue
        _log.error("Triton has died; starting it again")
        try:
            node.start(Path(told.repository), told.ports, _START_S)
        except (TabwrightError, OSError) as error:
            _log.error("Triton does not start again: %s", error)
            pause_s = min(_SELDOM_S, 2 * pause_s)
