"""What may go wrong with flags and events, as leaves of the platform's tree."""

from __future__ import annotations

from tabwright.errors import CallerError, InvalidRequest, Unavailable


class InvalidFlag(InvalidRequest):
    """A flag's definition cannot be taken."""


class InvalidEvent(InvalidRequest):
    """An event cannot be taken."""


class UnknownFlag(CallerError):
    """No flag has this key."""


class StaleRevision(CallerError):
    """Somebody else has changed the flag since it was read."""


class NoStore(Unavailable):
    """Flags are not kept anywhere: the gateway was started without a store."""


class StoreAway(Unavailable):
    """The store of flags and events does not answer, or is full; nothing of the call was kept."""
