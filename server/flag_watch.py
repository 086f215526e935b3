"""The newest flags of a store, in memory: asking for a variant never waits.

The store is asked several times a second whether anything was written, and read again if so. What
it said last stays in force while it is away, and is kept on the disk for a gateway that starts
meanwhile. Nothing that takes its time, a write or a person's question, stands in the way of that:
it has a connection of its own. The gateway says in the store which values it can obey, so that a
flag that names a model that no gateway has is refused where it is written (`ab.offers`). Read
`FlagWatch.follow` first.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from ab.assignment import Assignment, assign
from ab.errors import InvalidFlag, NoStore, StoreAway
from ab.offers import ANNOUNCE_S, Offers
from ab.store import FlagStore, Store, Version
from ab.stores.registry import open_store
from server.kept_flags import KeptFlags
from tabwright.errors import TabwrightError

logger = logging.getLogger(__name__)

_LOOK_S = 0.25
_WAIT_S = 0.5  # then another connection is tried: a flip is to be seen within a second

T = TypeVar("T")


class Known(StrEnum):
    """From where the flags in force are.

    CURRENT: from the store, as of now. LAST_KNOWN: it was read, and does not answer any more. KEPT:
    from the disk, the store has not answered yet. DEFAULTS: nothing is known, defaults hold.
    """

    CURRENT = "current"
    LAST_KNOWN = "last_known"
    KEPT = "kept"
    DEFAULTS = "defaults"


class FlagWatch:
    """The flags of one store; without an address there are none."""

    def __init__(
        self,
        address: str | None = None,
        offers: Offers | None = None,
        kept: KeptFlags | None = None,
    ) -> None:
        """Read them once.

        offers: what this gateway can obey, by flag. kept: where flags outlive this process.

        Raises:
            ConfigError: the address is wrong.
            MissingExtra: the store's packages are not installed.
        """
        self._address = address
        self._offers = offers or {}
        self._kept = kept
        self._name = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._followed: Store | None = None
        self._asked: Store | None = None
        self._versions: Mapping[str, Version] = {}
        self._stamp: int | None = None
        self._opening = threading.Lock()
        self.known: Known | None = None
        if address is not None:
            try:
                self._open()  # a start may wait for who makes the same store
                self._look()
            except (StoreAway, InvalidFlag) as error:
                self._begin_without(error)

    @property
    def away(self) -> bool:
        """Whether there is a store, and it does not answer."""
        return self.known not in (None, Known.CURRENT)

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
        return await anyio.to_thread.run_sync(lambda: question(self._open()))

    async def follow(self) -> None:
        """Keep up with the store until cancelled."""
        if self._address is None:
            return
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._announce)
                while True:
                    await anyio.sleep(_LOOK_S)
                    try:
                        await anyio.to_thread.run_sync(self._look)
                    except TabwrightError as error:
                        self._lost(error)
        finally:
            for store in (self._followed, self._asked):
                if store is not None:
                    store.close()

    async def _announce(self) -> None:
        while True:
            with suppress(TabwrightError):  # who follows says that the store is away
                await self.consult(lambda s: s.announce(self._name, self._offers, time.time()))
            await anyio.sleep(ANNOUNCE_S)

    def _open(self) -> Store:
        """The store for whatever may take its time."""
        assert self._address is not None
        with self._opening:
            self._asked = self._asked or open_store(self._address)
        return self._asked

    def _look(self) -> None:
        """Read the flags if they may have changed."""
        assert self._address is not None
        self._followed = self._followed or open_store(self._address, _WAIT_S)
        self._read(self._followed)
        if self.known not in (None, Known.CURRENT):
            logger.info("flags are as the store has them", extra={"before": self.known})
        self.known = Known.CURRENT

    def _begin_without(self, error: TabwrightError) -> None:
        """Go by what is kept; the first thing that an operator should know of this gateway."""
        self._versions = self._kept.read() if self._kept else {}
        if self._versions:
            self.known = Known.KEPT
            logger.error("flags cannot be read, those of the last run are in force: %s", error,
                         extra={"flags": len(self._versions)})  # fmt: skip
        else:
            self.known = Known.DEFAULTS
            logger.error("flags cannot be read and none are kept, defaults are in force: %s", error)

    def _lost(self, error: TabwrightError) -> None:
        """Keep what is known; after that everything is read anew, whatever the stamp says."""
        if self.known is Known.CURRENT:
            logger.error("flags cannot be read, the last ones stay in force: %s", error)
            self.known = Known.LAST_KNOWN
        self._stamp = None

    def _read(self, store: FlagStore) -> None:
        stamp = store.stamp()
        if stamp == self._stamp:
            return
        before, found = self._versions, store.flags()
        self._versions = {key: v for key, v in found.items() if not v.flag.archived}
        self._stamp = stamp  # asked before the flags: a write in between is read at the next look
        logger.info("flags read", extra={"flags": len(self._versions), "stamp": stamp})
        if self._kept is not None and (self._versions != before or self.known is None):
            self._kept.write(self._versions)
