"""A tiny completion server with few slots, in one process: it may go on when its client has left.

Speaks OpenAI's `/v1/completions`, streamed and not. One thread a request, one slot a generation.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Manners:
    """How the server behaves. gauges: it shows what it runs. careless: it never looks whether its
    client is still there."""

    careless: bool
    gauges: bool
    slots: int = 2
    tokens: int = 150
    token_s: float = 0.01
    first_s: float = 0.05
    running: int = 0
    waiting: int = 0
    change: threading.Condition = field(default_factory=threading.Condition)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    manners: Manners
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        manners = self.manners
        if self.path == "/metrics" and manners.gauges:
            lines = f"llamacpp:requests_processing {manners.running}\n"
            lines += f"llamacpp:requests_deferred {manners.waiting}\n"
            self._answer(200, lines.encode())
        elif self.path == "/v1/models":
            self._answer(200, b'{"data":[{"id":"parrot"}]}')
        else:
            self._answer(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/completions" or "prompt" not in body:
            self._answer(404, b"{}")
            return
        try:
            self._complete(body)
        except ConnectionError:
            self.close_connection = True

    def _complete(self, body: dict[str, object]) -> None:
        manners, stream = self.manners, body.get("stream")
        with self._slot():
            if stream:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
            time.sleep(manners.first_s)
            self._look()
            for number in range(min(int(str(body["max_tokens"])), manners.tokens)):
                time.sleep(manners.token_s)
                self._look()
                if stream:
                    if not number:
                        self.end_headers()
                    self._say(b'data: {"choices":[{"text":"a"}]}\n\n')
        if not stream:
            self._answer(200, b'{"choices":[{"text":"a"}]}')

    @contextmanager
    def _slot(self) -> Iterator[None]:
        manners = self.manners
        with manners.change:
            manners.waiting += 1
            try:
                while manners.running >= manners.slots:
                    manners.change.wait(0.001)
                    self._look()
            finally:
                manners.waiting -= 1
            manners.running += 1
        try:
            yield
        finally:
            with manners.change:
                manners.running -= 1
                manners.change.notify()

    def _look(self) -> None:
        """Leave when the client has left; a careless server does not look."""
        if not self.manners.careless and select.select([self.connection], [], [], 0)[0]:
            gone = not self.connection.recv(1, socket.MSG_PEEK)
            if gone:
                raise ConnectionResetError

    def _say(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
        except ConnectionError:
            if not self.manners.careless:
                raise

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients that leave are no news."""


@contextmanager
def careless_server(manners: Manners) -> Iterator[str]:
    """Serve for the length of the block; yield the base URL."""
    handler = type("Handler", (Handler,), {"manners": manners})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
