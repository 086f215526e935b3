"""The newest flags of a store, in memory: asking for a variant never waits.

The store is asked several times a second whether anything was written, and read again if so; what
it said last stays in force while it is away. The gateway says there which values it can obey, so
that a flag that names a model that no gateway has is refused where it is written (`ab.offers`).
Read `FlagWatch.follow` first.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from ab.assignment import Assignment, assign
from ab.errors import InvalidFlag, NoStore, StoreAway
from ab.offers import ANNOUNCE_S, Offers
from ab.store import FlagStore, Store, Version
from ab.stores.registry import open_store
from tabwright.errors import TabwrightError

logger = logging.getLogger(__name__)

_LOOK_S = 0.25

T = TypeVar("T")


class FlagWatch:
    """The flags of one store; without an address there are none."""

    def __init__(self, address: str | None = None, offers: Offers | None = None) -> None:
        """Read them once.

        offers: what this gateway can obey, by flag.

        Raises:
            ConfigError: the address is wrong.
            MissingExtra: the store's packages are not installed.
        """
        self._address = address
        self._offers = offers or {}
        self._name = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._store: Store | None = None
        self._versions: Mapping[str, Version] = {}
        self._stamp: int | None = None
        self._announced_at = 0.0
        self.away = False
        if address is not None:
            try:
                self._look()
            except (StoreAway, InvalidFlag) as error:
                self._lost(error)

    @property
    def versions(self) -> Mapping[str, Version]:
        """Newest known version of each flag, by key."""
        return self._versions

    def evaluate(self, key: str, context: Mapping[str, Any]) -> Assignment | None:
        """Choose a variant of the flag `key`; None: there is no such flag."""
        version = self._versions.get(key)
        return None if version is None else assign(version.flag, context)

    def overridden(self, key: str, user: str) -> bool:
        """Tell whether the variant of `user` was fixed by hand."""
        version = self._versions.get(key)
        return version is not None and version.flag.enabled and user in version.flag.overrides

    async def consult(self, question: Callable[[Store], T]) -> T:
        """Let `question` read or write the store itself, which takes its time.

        Raises:
            NoStore: there is none.
            StoreAway: it does not answer.
        """
        if self._address is None:
            raise NoStore("this gateway keeps no flags; start it with --store ab.sqlite")
        if (store := self._store) is None:
            raise StoreAway("the store of flags has not answered yet; try again")
        return await anyio.to_thread.run_sync(question, store)

    async def follow(self) -> None:
        """Keep up with the store until cancelled."""
        if self._address is None:
            return
        try:
            while True:
                await anyio.sleep(_LOOK_S)
                try:
                    await anyio.to_thread.run_sync(self._look)
                except TabwrightError as error:
                    self._lost(error)
        finally:
            if self._store is not None:
                self._store.close()

    def _look(self) -> None:
        """Read the flags if they may have changed."""
        assert self._address is not None
        if self._store is None:
            self._store = open_store(self._address)
        self._read(self._store)
        if self.away:
            logger.info("the store of flags is back")
        self.away = False

    def _lost(self, error: TabwrightError) -> None:
        """Keep what is known; after that everything is read anew, whatever the stamp says."""
        if not self.away:
            logger.error("flags cannot be read, the last ones stay in force: %s", error)
        self.away, self._stamp = True, None

    def _read(self, store: FlagStore) -> None:
        now = time.time()
        if not 0 <= now - self._announced_at < ANNOUNCE_S:
            store.announce(self._name, self._offers, now)
            self._announced_at = now
        stamp = store.stamp()
        if stamp == self._stamp:
            return
        self._versions = store.flags()
        self._stamp = stamp  # asked before the flags: a write in between is read at the next look
        logger.info("flags read", extra={"flags": len(self._versions), "stamp": stamp})
