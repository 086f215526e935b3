"""Speaks to a browser in a sandbox over its pipe, in the DevTools protocol: JSON ended by NUL.

One command at a time is answered; whatever the browser says meanwhile goes to `listener`. What a
page may cause (a flood of messages, the end of the browser) is raised as `BrowserLost`. Not known
here: what is looked at. Read `DevTools.call` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from evalkit.sandbox.seam import Conversation

_MARK = b"\0"
_LONGEST = 16 << 20
_MOST_MESSAGES = 50_000
_MOST_BYTES = 128 << 20


class BrowserLost(Exception):
    """The browser ended, or a page made it say too much. flooded: the latter."""

    def __init__(self, *, flooded: bool = False) -> None:
        super().__init__("too many messages" if flooded else "the browser ended")
        self.flooded = flooded


class Refused(Exception):
    """The browser could not do what it was told; the message is its own."""


@dataclass(slots=True)
class DevTools:
    """A conversation with one browser. listener: told of each event, with its fields."""

    talk: Conversation
    listener: Callable[[str, dict[str, Any]], None] = lambda _name, _fields: None
    _last: int = 0
    _awaited: int = 0
    _answer: dict[str, Any] | None = None
    _outbox: list[bytes] = field(default_factory=list)
    _messages: int = 0
    _bytes: int = 0

    async def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Do one thing and return what came of it.

        Raises:
            Refused: it could not be done.
            BrowserLost: there is nobody to do it.
        """
        self.post(method, session, **params)
        self._awaited, self._answer = self._last, None
        while self._answer is None:
            await self._send_all()
            self._hear(await self.talk.until(_MARK, _LONGEST))
        if "error" in self._answer:
            raise Refused(str(self._answer["error"].get("message", "")))
        result: dict[str, Any] = self._answer.get("result", {})
        return result

    def post(self, method: str, session: str = "", **params: Any) -> None:
        """Have one thing done before the next, without waiting for what comes of it."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._outbox.append(json.dumps(message).encode() + _MARK)

    async def listen(self, seconds: float) -> None:
        """Let time pass; answer events meanwhile.

        Raises:
            BrowserLost: there is nobody to listen to.
        """
        until = anyio.current_time() + seconds
        while (left := until - anyio.current_time()) > 0:
            await self._send_all()
            heard = False
            with anyio.move_on_after(left):
                raw = await self.talk.until(_MARK, _LONGEST)
                heard = True
            if heard:
                self._hear(raw)
        await self._send_all()

    async def _send_all(self) -> None:
        while self._outbox:
            await self.talk.send(self._outbox.pop(0))

    def _hear(self, raw: bytes | None) -> None:
        if raw is None:
            raise BrowserLost
        self._messages += 1
        self._bytes += len(raw)
        if self._messages > _MOST_MESSAGES or self._bytes > _MOST_BYTES:
            raise BrowserLost(flooded=True)
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            raise BrowserLost(flooded=True) from None
        if said.get("id") == self._awaited:
            self._answer = said
        elif "method" in said:
            self.listener(said["method"], said.get("params", {}))
