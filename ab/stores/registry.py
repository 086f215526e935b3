"""The table of stores, by the scheme of their address; without one it is a file of SQLite's."""

from __future__ import annotations

from importlib import import_module

from ab.store import Store
from tabwright.errors import MissingExtra

STORES = {
    "": "ab.stores.sqlite:SqliteStore",
    "redis": "ab.stores.redis:RedisStore",
    "rediss": "ab.stores.redis:RedisStore",
}


def open_store(address: str, wait_s: float | None = None) -> Store:
    """Open the store at `address`: a path, or redis://host:port/number.

    wait_s: how long a call waits for an answer or for others; None: as the store is used to.

    Raises:
        ConfigError: the address is wrong.
        StoreAway: it does not answer.
        MissingExtra: its packages are not installed.
    """
    scheme, found, _ = address.partition("://")
    module, _, attribute = STORES.get(scheme if found else "", STORES[""]).partition(":")
    try:
        store: Store = getattr(import_module(module), attribute)(address, wait_s)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "redis", "redis") from error
    return store
