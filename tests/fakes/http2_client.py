"""An HTTP/2 client on one connection: several requests side by side, each can be reset alone."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamEnded, StreamReset

PATIENCE_S = 20.0


class Http2Client:
    """Speaks to a server on this machine over TLS, whoever signed its certificate."""

    def __init__(self, port: int) -> None:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        trust.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._socket = trust.wrap_socket(plain, server_hostname="localhost")
        assert self._socket.selected_alpn_protocol() == "h2"
        self._http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._http.initiate_connection()
        self._flush()
        self._received: dict[int, bytes] = {}
        self._ended: set[int] = set()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def post(self, path: str, body: Mapping[str, Any]) -> int:
        """Send a request; return the number of its stream."""
        number = self._http.get_next_available_stream_id()
        head = {":method": "POST", ":path": path, ":scheme": "https", ":authority": "localhost"}
        self._http.send_headers(number, [*head.items(), ("content-type", "application/json")])
        self._http.send_data(number, json.dumps(body).encode(), end_stream=True)
        self._received[number] = b""
        self._flush()
        return number

    def reset(self, number: int) -> None:
        """Abandon one stream, as a browser or an SDK does."""
        self._http.reset_stream(number, ErrorCodes.CANCEL)
        self._flush()

    def read_until(self, number: int, pattern: bytes) -> bytes:
        """Read until `pattern` has come on a stream."""
        while pattern not in self._received[number]:
            assert number not in self._ended, (
                f"ended before {pattern!r}: {self._received[number]!r}"
            )
            data = self._socket.recv(65536)
            assert data, "the connection ended"
            for event in self._http.receive_data(data):
                if isinstance(event, DataReceived):
                    self._received[event.stream_id] += event.data
                    if event.flow_controlled_length:
                        self._http.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                elif isinstance(event, StreamEnded | StreamReset):
                    self._ended.add(event.stream_id)
            self._flush()
        return self._received[number]

    def _flush(self) -> None:
        self._socket.sendall(self._http.data_to_send())
