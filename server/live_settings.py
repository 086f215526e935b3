"""The settings that hold now, and who must be told when they change.

The `LIVE_OPTIONS` of `server.settings` may change while the gateway serves; what is
asked of them per request is simply read again. The others keep the value the gateway started with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from server.settings import LIVE_OPTIONS, ServerSettings


class Change(NamedTuple):
    """Names of the options that took effect, and of those that need a restart."""

    applied: tuple[str, ...]
    stuck: tuple[str, ...]


class LiveSettings:
    """The settings of a running gateway."""

    def __init__(self, settings: ServerSettings) -> None:
        """Start with these."""
        self._now = settings
        self._followers: list[Callable[[ServerSettings], None]] = []

    @property
    def now(self) -> ServerSettings:
        """The settings that hold for a request that begins now."""
        return self._now

    def follow(self, follower: Callable[[ServerSettings], None]) -> None:
        """Tell `follower` of the settings, now and after each change."""
        self._followers.append(follower)
        follower(self._now)

    def replace(self, wanted: ServerSettings) -> Change:
        """Take over every live option of `wanted`; say which changed and which could not."""
        differ = [
            name
            for name in ServerSettings.model_fields
            if getattr(wanted, name) != getattr(self._now, name)
        ]
        applied = tuple(name for name in differ if name in LIVE_OPTIONS)
        if applied:
            self._now = self._now.model_copy(
                update={name: getattr(wanted, name) for name in applied}
            )
            for follower in self._followers:
                follower(self._now)
        return Change(applied, tuple(name for name in differ if name not in LIVE_OPTIONS))
