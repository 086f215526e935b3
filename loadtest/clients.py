"""How three kinds of editor ask for a suggestion and give one up: Tabby, OpenAI streams, native.

One connection a request, closed to abandon it, which is what editors do. A request runs in a thread
of its own (a greenlet under locust) and tells when something is there to be shown.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

_TIMEOUT_S = 30.0
_MAX_TOKENS = 64

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Editor:
    """A kind of editor. debounce_s: how long it waits for another key before it asks.

    body(prefix, suffix, path, session) is the request; piece(event) the text of one object of the
    stream, or of the whole answer where `streams` is False.
    """

    name: str
    path: str
    debounce_s: float
    streams: bool
    body: Callable[[str, str, str, str], Body]
    piece: Callable[[Any], str]


def _lines(text: str, first: int | None, last: int | None) -> str:
    return "".join(text.splitlines(keepends=True)[first:last])


def _tabby_body(prefix: str, suffix: str, path: str, session: str) -> Body:
    del session
    near = {"prefix": _lines(prefix, -20, None), "suffix": _lines(suffix, None, 20)}
    return {"language": "python", "segments": near | {"filepath": path}}


def _openai_body(prefix: str, suffix: str, path: str, session: str) -> Body:
    del path, session
    length = {"max_tokens": _MAX_TOKENS, "temperature": 0.01}
    return {"prompt": prefix[-4000:], "suffix": suffix[:2000], "stream": True} | length


def _native_body(prefix: str, suffix: str, path: str, session: str) -> Body:
    near = {"prefix": prefix[-8000:], "suffix": suffix[:4000], "path": path}
    return near | {"session": session, "max_tokens": _MAX_TOKENS, "stream": True}


EDITORS = {
    editor.name: editor
    for editor in (
        Editor(
            "tabby",
            "/v1/completions",
            0.20,
            False,
            _tabby_body,
            lambda answer: str(answer["choices"][0]["text"]),
        ),
        Editor(
            "openai",
            "/v1/completions",
            0.35,
            True,
            _openai_body,
            lambda event: str(event["choices"][0]["text"]),
        ),
        Editor(
            "native",
            "/v1/suggestions",
            0.05,
            True,
            _native_body,
            lambda event: str(event.get("text", "")),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask."""

    host: str
    port: int
    api_key: str = ""

    def connect(self) -> HTTPConnection:
        """Make a connection that is not open yet."""
        return HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)

    def headers(self, **more: str) -> dict[str, str]:
        """Headers of every request."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"Content-Type": "application/json"} | key | more

    def post(self, path: str, body: Mapping[str, Any]) -> int:
        """Send something small and return the status; the answer is not of interest."""
        connection = self.connect()
        try:
            connection.request("POST", path, json.dumps(body), self.headers())
            return connection.getresponse().status
        finally:
            connection.close()


@dataclass(eq=False)
class Asked:
    """One request on its way. Times are seconds of `time.perf_counter`; None: not yet, or never.

    reading_s: how long its suggestion will be looked at before it is decided on.
    """

    editor: Editor
    sent_at: float
    reading_s: float
    news: threading.Event
    text: str = ""
    answer_id: str = ""
    source: str = ""
    first_at: float | None = None
    done_at: float | None = None
    error: str | None = None
    abandoned: bool = False
    _connection: HTTPConnection | None = field(default=None, repr=False)

    def run(self, server: Server, body: Body) -> None:
        """Ask, and read the answer to its end or until it is abandoned."""
        try:
            self._exchange(server, body)
        except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            # A socket that `abandon` closed under a read fails in any of these ways.
            if not self.abandoned:
                self.error = type(error).__name__
        finally:
            self.done_at = time.perf_counter()
            if self._connection is not None:
                self._connection.close()
            self.news.set()

    def abandon(self) -> None:
        """Close the connection: the developer typed on."""
        if self.done_at is None:
            self.abandoned = True
            opened = self._connection.sock if self._connection else None
            if opened is not None:
                with suppress(OSError):  # it was closed in this moment
                    opened.shutdown(socket.SHUT_RDWR)

    def _exchange(self, server: Server, body: Body) -> None:
        self._connection = connection = server.connect()
        connection.request("POST", self.editor.path, json.dumps(body), server.headers())
        response = connection.getresponse()
        self.source = response.headers.get("x-tabwright-source", "")
        if response.status != 200:
            response.read()
            self.error = str(response.status)
        elif self.editor.streams:
            for line in response:
                if line.startswith(b"data: {"):
                    self._take(json.loads(line[6:]))
        else:
            self._take(json.loads(response.read()))

    def _take(self, event: Any) -> None:
        if "error" in event or "code" in event:
            self.error = "in the stream"
            return
        self.answer_id = str(event.get("id", self.answer_id))
        text = self.editor.piece(event) if event.get("choices", True) else ""
        self.text += text
        if self.text.strip() and self.first_at is None:
            self.first_at = time.perf_counter()
            self.news.set()


def new_session() -> str:
    """Name one editor window."""
    return uuid.uuid4().hex
