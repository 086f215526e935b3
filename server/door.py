"""Whose request this is, and whether it may come in: keys, scopes, and what a web page may not do.

    a key, or several in a file     who has one is let in, for the scopes it has
    none, on the loopback only      everybody on this machine is let in, web pages are not
    none, and `allow_open`          everybody is let in, and told apart by address

Nothing here touches a file while a request waits: `Door.watch` reads the keys again when their
file changes. Read `Door.caller` first.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

import anyio
import anyio.to_thread

from server.caller import Caller, KeyScope, named_user
from server.keys import DEFAULT_SCOPES, KeyRing
from server.keys_file import read_keys
from server.live_settings import LiveSettings
from server.settings import is_loopback
from tabwright.errors import CallerError, ConfigError

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
# Names that no public name server can point at this machine: reserved ones.
_PRIVATE_NAMES = (".localhost", ".local", ".internal")


class Unauthorized(CallerError):
    """The API key is missing, unknown, expired or revoked."""


class Forbidden(CallerError):
    """The key is good, but not for this; or a web page of another site asks."""


class Door:
    """The door of one gateway."""

    def __init__(self, live: LiveSettings) -> None:
        """Read the keys.

        Raises:
            ConfigError: their file cannot be used.
        """
        self._live = live
        settings = self._settings = live.now  # what the door goes by needs a restart to change
        self._mark = _mark(settings.keys_file)
        self._ring = self._read()
        self._local = is_loopback(settings.host) and not settings.allow_open

    def caller(self, headers: Mapping[str, str], address: str, scope: KeyScope) -> Caller:
        """Say whose request this is, from its headers and the address it comes from.

        Raises:
            Unauthorized: keys are asked for, and it has none that is in force.
            Forbidden: its key lacks `scope`, or it comes from a web page.
            InvalidRequest: the name of the person is none.
        """
        person = named_user(headers)
        if self._settings.closed:
            holder = self._holder(_token(headers))
            caller = replace(holder, user=person) if person else holder
        else:
            self._refuse_web_pages(headers)
            caller = Caller(user=person)
            if not self._local:
                caller = replace(caller, address=address, scopes=DEFAULT_SCOPES)
        if scope not in caller.scopes:
            raise Forbidden(f"this key has no scope {scope.value!r}; ask for one that has it")
        return caller

    async def watch(self) -> None:
        """Read the keys again whenever their file changes; a broken file changes nothing."""
        path = self._settings.keys_file
        while path is not None:
            await anyio.sleep(_LOOK_EVERY_S)
            mark = await anyio.to_thread.run_sync(_mark, path)
            if mark == self._mark:
                continue
            self._mark = mark
            try:
                self._ring = await anyio.to_thread.run_sync(self._read)
            except ConfigError as error:
                logger.error("THE KEYS FILE IS BROKEN; the last good one stays in force: %s", error)
            else:
                logger.info("keys read again", extra={"keys": len(self._ring)})

    def _read(self) -> KeyRing:
        path = self._settings.keys_file
        return KeyRing(read_keys(path) if path else ())

    def _holder(self, token: str) -> Caller:
        # Compared as bytes: compare_digest refuses non-ASCII text, and headers arrive as latin-1.
        single = self._settings.api_key
        if single and hmac.compare_digest(token.encode(), single.encode()):
            return Caller("api_key", holder="api_key")
        found = self._ring.find(token) if token else None
        if found is None:
            raise Unauthorized(
                "the API key is missing or wrong, or no longer in force; "
                "send 'Authorization: Bearer <key>'"
            )
        return found.caller(self._live.now.eagerness())

    def _refuse_web_pages(self, headers: Mapping[str, str]) -> None:
        """Refuse what only a browser on somebody else's page sends: it cannot be told to stop."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if self._local and _is_public_name(host):
            raise Forbidden(
                "Host: this gateway has no key and answers to the names of this machine only; "
                "set api_key, keys_file, or allow_open"
            )
        if origin is None or origin in self._settings.cors_origins:
            return
        scheme, _, place = origin.partition("://")
        if scheme in ("http", "https", "null") and place != host:
            raise Forbidden(
                "Origin: a web page may not use a gateway without a key; name it in cors_origins"
            )


def _token(headers: Mapping[str, str]) -> str:
    """The key of `Authorization: Bearer`, else of `x-api-key`; llama.vim sends an empty bearer."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return bearer or headers.get("x-api-key", "").strip()


@lru_cache(maxsize=256)
def _is_public_name(host: str) -> bool:
    """Tell whether somebody else's name server may answer for `host` (with or without a port)."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ip_address(name)
    except ValueError:
        return "." in name and not name.endswith(_PRIVATE_NAMES)
    return False


def _mark(path: Path | None) -> tuple[int, int, int] | None:
    """What changes whenever a file does."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)
