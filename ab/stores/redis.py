"""Flags, events and decisions in Redis, for several machines.

Hashes hold the newest flags, the events of each suggestion and the counts of each cell; streams
hold what happened, in order: versions of flags with their text, decisions, and events that are not
counted yet, which a consumer group works on. A write watches what it read and is tried again when
somebody was faster. What Redis has acknowledged is as safe as its own settings make it (`appendonly
yes`, `appendfsync always` to lose nothing).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import redis

from ab import definition
from ab.errors import StaleRevision, StoreAway
from ab.events import Event, from_json, to_json
from ab.flags import Flag, check_layers
from ab.offers import LIVE_S, Offers
from ab.rollup import Cell, Counts, differences
from ab.store import Decision, Version
from tabwright.errors import ConfigError

_FLAGS = "tabwright:flags"
_HISTORY = "tabwright:flags:history"
_DECISIONS = "tabwright:decisions"
_DECIDED = "tabwright:decisions:ids"
_INBOX = "tabwright:inbox"
_GROUP = "counting"
_GATEWAYS = "tabwright:gateways"
_CELLS = "tabwright:cells"
_SUGGESTION = "tabwright:suggestion:"
_USER = "tabwright:user:"
_CELL = "tabwright:cell:"
_ENTRIES = 4  # of the inbox that are counted at a time
_TRIES = 50
_TIMEOUT_S = 5.0


class RedisStore:
    """A store in one Redis database."""

    def __init__(self, address: str, wait_s: float | None = None) -> None:
        """Connect to `address`, like redis://127.0.0.1:6379/0; an answer may take `wait_s`.

        Raises:
            ConfigError: the address is malformed.
            StoreAway: nobody answers there.
        """
        wait_s = _TIMEOUT_S if wait_s is None else wait_s
        try:
            self._db: Any = redis.Redis.from_url(
                address, socket_timeout=wait_s, socket_connect_timeout=wait_s
            )
        except ValueError as error:
            raise ConfigError(f"store: {error}; write it like redis://host:6379/0") from None
        with _asking():
            self._db.ping()

    def flags(self) -> dict[str, Version]:
        """Newest version of each flag, by key."""
        with _asking():
            found = self._db.hvals(_FLAGS)
        return {
            version.flag.key: version
            for version in sorted(map(definition.read, found), key=_key_of)
        }

    def stamp(self) -> int:
        """Count the versions."""
        with _asking():
            return int(self._db.xlen(_HISTORY))

    def put(self, flag: Flag, expected: int, at: float, who: str, why: str) -> Version:
        """Write a flag that was read at the revision `expected`, 0 for a new one."""
        version = Version(flag, expected + 1, at, who, why)

        def write(pipe: Any) -> None:
            others = {v.flag.key: v for v in map(definition.read, self._db.hvals(_FLAGS))}
            now = others[flag.key].revision if flag.key in others else 0
            if now != expected:
                raise StaleRevision(
                    f"{flag.key}: revision {expected} was changed, it is {now} by now; "
                    "look at it again and repeat your change"
                )
            check_layers([flag, *(v.flag for key, v in others.items() if key != flag.key)])
            pipe.multi()
            pipe.hset(_FLAGS, flag.key, definition.write(version))
            pipe.xadd(_HISTORY, {"key": flag.key, "version": definition.write(version)})

        self._watching([_FLAGS], write)
        return version

    def history(self, key: str) -> list[Version]:
        """All versions of a flag, oldest first."""
        with _asking():
            entries = self._db.xrange(_HISTORY)
        return [
            definition.read(entry[b"version"])
            for _, entry in entries
            if entry[b"key"] == key.encode()
        ]

    def announce(self, gateway: str, offers: Offers, at: float) -> None:
        """Keep what a running gateway can obey."""
        with _asking():
            for name, said in self._db.hgetall(_GATEWAYS).items():
                if json.loads(said)[0] < at - LIVE_S:
                    self._db.hdel(_GATEWAYS, name)
            self._db.hset(_GATEWAYS, gateway, json.dumps([at, offers]))

    def gateways(self, since: float) -> dict[str, Offers]:
        """What gateways have said after `since`."""
        with _asking():
            found = self._db.hgetall(_GATEWAYS)
        rows = {name.decode(): json.loads(said) for name, said in found.items()}
        return {name: offers for name, (at, offers) in rows.items() if at > since}

    def record(self, decision: Decision) -> None:
        """Keep a decision, once."""

        def write(pipe: Any) -> None:
            known = self._db.sismember(_DECIDED, decision.id)
            pipe.multi()
            if not known:
                pipe.sadd(_DECIDED, decision.id)
                pipe.xadd(_DECISIONS, {"decision": json.dumps(asdict(decision))})

        self._watching([_DECIDED], write)

    def decisions(self, flag: str = "") -> list[Decision]:
        """Decisions about a flag, or about all, oldest first."""
        with _asking():
            entries = self._db.xrange(_DECISIONS)
        found = [Decision(**json.loads(entry[b"decision"])) for _, entry in entries]
        return [decision for decision in found if flag in ("", decision.flag)]

    def append(self, events: Sequence[Event]) -> int:
        """Keep the events whose ids are new; tell how many they were."""
        touched = list(dict.fromkeys(event.suggestion for event in events))
        if not touched:
            return 0
        added: dict[str, Event] = {}

        def write(pipe: Any) -> None:
            before = self._events_of(touched)
            added.clear()
            for event in events:
                if event.id not in before[event.suggestion]:
                    added.setdefault(event.id, event)
            after = {name: dict(known) for name, known in before.items()}
            pipe.multi()
            for event in added.values():
                after[event.suggestion][event.id] = event
                pipe.hset(_SUGGESTION + event.suggestion, event.id, to_json(event))
                pipe.sadd(_USER + event.user, event.suggestion)
            _add(pipe, before, after)

        self._watching([_SUGGESTION + name for name in touched], write)
        return len(added)

    def enqueue(self, events: Sequence[Event]) -> None:
        """Keep the events in a stream until somebody counts them."""
        if events:
            with _asking():
                self._db.xadd(_INBOX, {"events": "\n".join(map(to_json, events))})

    def count(self, worker: str, idle_s: float = 60.0) -> int:
        """Count a few entries of the stream, those first whose worker has died."""
        with _asking():
            entries = self._entries(worker, round(idle_s * 1000))
        if not entries:
            return 0
        events = [from_json(line) for _, entry in entries for line in entry[b"events"].splitlines()]
        self.append(events)
        ids = [name for name, _ in entries]
        with _asking(), self._db.pipeline() as pipe:
            pipe.xack(_INBOX, _GROUP, *ids)
            pipe.xdel(_INBOX, *ids)
            pipe.execute()
        return len(events)

    def _entries(self, worker: str, idle_ms: int) -> Sequence[Any]:
        try:
            _, old, _ = self._db.xautoclaim(_INBOX, _GROUP, worker, idle_ms, count=_ENTRIES)
            if old:
                return [row for row in old if row[1]]  # without a body it was counted meanwhile
            new = self._db.xreadgroup(_GROUP, worker, {_INBOX: ">"}, count=_ENTRIES)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            with suppress(redis.ResponseError):  # somebody else has made it meanwhile
                self._db.xgroup_create(_INBOX, _GROUP, "0", mkstream=True)
            return self._entries(worker, idle_ms)
        return new[0][1] if new else []

    def events(self) -> Iterator[Event]:
        """Everything that is kept and counted."""
        with _asking():
            for name in self._db.scan_iter(_SUGGESTION + "*", count=1000):
                yield from map(from_json, self._db.hvals(name))

    def cells(self) -> Iterator[tuple[Cell, Counts]]:
        """Everything counted."""
        with _asking():
            names = list(self._db.sscan_iter(_CELLS, count=1000))
            with self._db.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hmget(_CELL + name.decode(), Counts._fields)
                rows = pipe.execute()
        for name, row in zip(names, rows, strict=True):
            yield Cell(*json.loads(name)), Counts(*(int(value or 0) for value in row))

    def purge(self, user: str) -> int:
        """Erase the suggestions of a user."""
        while self.count("purge", 0.0):
            pass
        with _asking():
            theirs = [name.decode() for name in self._db.smembers(_USER + user)]

        def write(pipe: Any) -> None:
            before = self._events_of(theirs)
            pipe.multi()
            _add(pipe, before, {})
            for name in theirs:
                pipe.delete(_SUGGESTION + name)
            pipe.delete(_USER + user)

        self._watching([_USER + user, *(_SUGGESTION + name for name in theirs)], write)
        self._forget_cells(user)
        return len(theirs)

    def close(self) -> None:
        """Close the connections."""
        self._db.close()

    def _forget_cells(self, user: str) -> None:
        with _asking():
            for name in list(self._db.sscan_iter(_CELLS, count=1000)):
                if Cell(*json.loads(name)).user == user:
                    self._db.delete(_CELL + name.decode())
                    self._db.srem(_CELLS, name)

    def _events_of(self, suggestions: Sequence[str]) -> dict[str, dict[str, Event]]:
        with self._db.pipeline(transaction=False) as pipe:
            for name in suggestions:
                pipe.hvals(_SUGGESTION + name)
            found = pipe.execute()
        events = [[from_json(body) for body in bodies] for bodies in found]
        pairs = zip(suggestions, events, strict=True)
        return {name: {event.id: event for event in known} for name, known in pairs}

    def _watching(self, keys: Sequence[str], write: Callable[[Any], None]) -> None:
        """Run the transaction that `write` queues, again while somebody else changes `keys`."""
        for _ in range(_TRIES):
            with _asking(), self._db.pipeline() as pipe:
                pipe.watch(*keys)
                write(pipe)
                try:
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue
        raise StoreAway("the store changes too fast to be written; try again")


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise StoreAway(f"Redis cannot be used: {error}") from error


def _add(pipe: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    changes = differences(
        {name: known.values() for name, known in before.items()},
        {name: known.values() for name, known in after.items()},
    )
    for cell, counts in changes.items():
        name = json.dumps(cell)
        pipe.sadd(_CELLS, name)
        for field, change in zip(Counts._fields, counts, strict=True):
            if change:
                pipe.hincrby(_CELL + name, field, change)


def _key_of(version: Version) -> str:
    return version.flag.key
