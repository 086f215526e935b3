"""A wire between programs and a server that can go dead: connections stay open, nothing comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class StuckWire:
    """Carries every connection to `port`; after `cut` those that there are carry nothing more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._dead = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let no byte through any more, on connections old and new."""
        self._dead.set()

    def mend(self) -> None:
        """Carry new connections; those of before stay dead."""
        self._dead = threading.Event()

    def drop(self) -> None:
        """End all connections, which both sides see."""
        while self._sockets:
            _end(self._sockets.pop())

    def close(self) -> None:
        self.cut()
        _end(self._listening)
        self.drop()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self._sockets.append(near)
                dead = self._dead
                if dead.is_set():
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets.append(far)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(one, other, dead), daemon=True).start()


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _carry(one: socket.socket, other: socket.socket, dead: threading.Event) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            if dead.is_set():
                return
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@contextmanager
def stuck_wire(port: int) -> Iterator[StuckWire]:
    """A wire to `port` of this machine for the length of the block."""
    wire = StuckWire(port)
    try:
        yield wire
    finally:
        wire.close()
