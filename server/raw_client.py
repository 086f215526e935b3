"""A bare HTTP/1.1 client: one request a connection, and leaving the block closes it at once.

What abandons a request as an editor does, and sees each piece of an answer when it arrives. Knows
no redirect, no cookie and no compression. Read `send` first.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import httptools
from anyio.abc import ByteStream
from pydantic_core import to_json

from tabwright.errors import ConfigError, Unavailable


class Unreachable(Unavailable):
    """Nobody answers at the address, or not in HTTP."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the headers that each of them carries."""

    host: str
    port: int
    prefix: str = ""
    tls: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str, api_key: str | None = None) -> Target:
        """Read a base URL.

        Raises:
            ConfigError: it is none.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no base URL; give one like http://127.0.0.1:8123")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        tls = parts.scheme == "https"
        port = port or (443 if tls else 80)
        return cls(parts.hostname, port, parts.path.rstrip("/"), tls, headers)

    async def connect(self) -> ByteStream:
        """Open a connection.

        Raises:
            Unreachable: nobody listens there, or its certificate is not trusted.
        """
        try:
            if not self.tls:
                return await anyio.connect_tcp(self.host, self.port)
            # Not standard compatible: closing must not wait for the other side's farewell.
            return await anyio.connect_tcp(
                self.host, self.port, tls=True, tls_standard_compatible=False
            )
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(f"cannot connect to {self.host}:{self.port}: {error}") from None

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> bytes:
        """Lay out one request."""
        raw = b"" if body is None else to_json(body)
        host = f"[{self.host}]" if ":" in self.host else self.host
        fields = {"Host": f"{host}:{self.port}", **self.headers, **headers}
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {self.prefix}{path} HTTP/1.1\r\n{lines}\r\n".encode() + raw


class Exchange:
    """One answer as it arrives: `status`, 0 before its head; `body` so far; when each part came."""

    def __init__(self, stream: ByteStream) -> None:
        """Read from `stream`, on which a request was sent."""
        self.stream = stream
        self.status = 0
        self.body = bytearray()
        self.arrivals_s: list[float] = []
        self.ended = False
        self._parser = httptools.HttpResponseParser(self)

    async def receive(self) -> bool:
        """Wait for the next part; False when there is none.

        Raises:
            Unreachable: what came is no HTTP.
        """
        if not self.ended:
            try:
                self._parser.feed_data(await self.stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.ended = True
            except httptools.HttpParserError as error:
                raise Unreachable(f"the answer is no HTTP: {error}") from None
        return not self.ended

    async def rest(self) -> bytes:
        """Read to the end of the answer; return its whole body."""
        while await self.receive():
            pass
        return bytes(self.body)

    def on_headers_complete(self) -> None:
        """Note the status."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Note a part of the body."""
        self.body += data
        self.arrivals_s.append(time.perf_counter())

    def on_message_complete(self) -> None:
        """Note the end."""
        self.ended = True


@asynccontextmanager
async def send(
    target: Target,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Exchange]:
    """Send a request; leaving the block closes its connection.

    Raises:
        Unreachable: see `Target.connect`.
    """
    async with await target.connect() as stream:
        try:
            await stream.send(target.request(method, path, body, headers or {}))
        except anyio.BrokenResourceError:
            raise Unreachable(f"{target.host}:{target.port} closed the connection") from None
        yield Exchange(stream)
