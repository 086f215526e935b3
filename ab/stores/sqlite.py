"""Flags, events and decisions in one SQLite file, for one machine: the default.

Write-ahead logging with a sync at each commit, so what was acknowledged outlives `kill -9` and a
power cut; several processes may share the file. Reading never waits for who writes, here or in
another process. Read `SqliteStore` first.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from ab import definition
from ab.errors import StaleRevision, StoreAway
from ab.events import Event, from_json, to_json
from ab.flags import Flag, check_layers
from ab.offers import LIVE_S, Offers
from ab.rollup import Cell, Counts, differences
from ab.store import Decision, Version
from tabwright.errors import ConfigError

_ROWS = 10_000
_WAIT_S = 10.0  # for another process that writes
_TURN_S = 0.001
# The file is there and is a store, but not for now.
_PASSING = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS flag_version (
  key TEXT, revision INTEGER, at REAL, who TEXT, why TEXT, body TEXT,
  PRIMARY KEY (key, revision));
CREATE TABLE IF NOT EXISTS gateway (name TEXT PRIMARY KEY, at REAL, offers TEXT);
CREATE TABLE IF NOT EXISTS event (
  id TEXT PRIMARY KEY, suggestion TEXT, user TEXT, body TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decision (
  number INTEGER PRIMARY KEY, id TEXT UNIQUE, flag TEXT, candidate TEXT, at REAL, who TEXT,
  why TEXT, verdict TEXT, body TEXT);
CREATE TRIGGER IF NOT EXISTS decision_kept BEFORE UPDATE ON decision
  BEGIN SELECT RAISE(ABORT, 'decisions are never changed'); END;
CREATE TRIGGER IF NOT EXISTS decision_stays BEFORE DELETE ON decision
  BEGIN SELECT RAISE(ABORT, 'decisions are never removed'); END;
CREATE INDEX IF NOT EXISTS event_suggestion ON event (suggestion);
CREATE INDEX IF NOT EXISTS event_user ON event (user);
"""
_CELLS = f"""
CREATE TABLE IF NOT EXISTS cell (
  {", ".join(f"{name} TEXT NOT NULL DEFAULT ''" for name in Cell._fields)},
  {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in Counts._fields)},
  PRIMARY KEY ({", ".join(Cell._fields)})) WITHOUT ROWID
"""
_ADD = (
    f"INSERT INTO cell VALUES ({', '.join('?' * (len(Cell._fields) + len(Counts._fields)))})"
    " ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in Counts._fields)
)
_DECISION = tuple(field.name for field in fields(Decision))
_NEWEST = """
SELECT key, max(revision), at, who, why, body FROM flag_version GROUP BY key ORDER BY key
"""


class SqliteStore:
    """A store in a file."""

    def __init__(self, address: str, wait_s: float | None = None) -> None:
        """Open the file `address`, and make it if need be; a call waits `wait_s` for others.

        Raises:
            ConfigError: it cannot be opened, or is something else.
            StoreAway: it cannot be read now.
        """
        self._wait_s = wait_s = _WAIT_S if wait_s is None else wait_s
        self._reads, self._writes = threading.Lock(), threading.Lock()
        try:
            Path(address).touch(0o600)  # it names people
            self._writer = _connection(address, wait_s)
            self._writer.executescript(_SCHEMA)
            _make_cells(self._writer)
            self._reader = _connection(address, wait_s)
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorname", "").startswith(_PASSING):
                raise _away(error) from error
            raise ConfigError(f"store: {address} cannot be used: {error}") from None

    def flags(self) -> dict[str, Version]:
        """Newest version of each flag, by key."""
        with self._reading() as db:
            return {row[0]: _version(row) for row in db.execute(_NEWEST)}

    def stamp(self) -> int:
        """Count the versions."""
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM flag_version").fetchone()[0])

    def put(self, flag: Flag, expected: int, at: float, who: str, why: str) -> Version:
        """Write a flag that was read at the revision `expected`, 0 for a new one."""
        with self._writing() as db:
            others = {row[0]: _version(row) for row in db.execute(_NEWEST)}
            now = others[flag.key].revision if flag.key in others else 0
            if now != expected:
                raise StaleRevision(
                    f"{flag.key}: revision {expected} was changed, it is {now} by now; "
                    "look at it again and repeat your change"
                )
            check_layers([flag, *(v.flag for key, v in others.items() if key != flag.key)])
            row = (flag.key, now + 1, at, who, why, definition.to_json(flag))
            db.execute("INSERT INTO flag_version VALUES (?, ?, ?, ?, ?, ?)", row)
        return Version(flag, now + 1, at, who, why)

    def history(self, key: str) -> list[Version]:
        """All versions of a flag, oldest first."""
        query = "SELECT * FROM flag_version WHERE key = ? ORDER BY revision"
        with self._reading() as db:
            return [_version(row) for row in db.execute(query, (key,))]

    def announce(self, gateway: str, offers: Offers, at: float) -> None:
        """Keep what a running gateway can obey."""
        with self._writing() as db:
            db.execute("DELETE FROM gateway WHERE at < ?", (at - LIVE_S,))
            row = (gateway, at, json.dumps(offers))
            db.execute("INSERT OR REPLACE INTO gateway VALUES (?, ?, ?)", row)

    def gateways(self, since: float) -> dict[str, Offers]:
        """What gateways have said after `since`."""
        query = "SELECT name, offers FROM gateway WHERE at > ?"
        with self._reading() as db:
            return {name: json.loads(said) for name, said in db.execute(query, (since,))}

    def record(self, decision: Decision) -> None:
        """Keep a decision, once."""
        names = ", ".join(_DECISION)
        places = ", ".join("?" * len(_DECISION))
        with self._writing() as db:
            row = tuple(getattr(decision, name) for name in _DECISION)
            db.execute(f"INSERT OR IGNORE INTO decision ({names}) VALUES ({places})", row)

    def decisions(self, flag: str = "") -> list[Decision]:
        """Decisions about a flag, or about all, oldest first."""
        query = f"SELECT {', '.join(_DECISION)} FROM decision WHERE ? IN ('', flag) ORDER BY number"
        with self._reading() as db:
            return [Decision(*row) for row in db.execute(query, (flag,))]

    def append(self, events: Sequence[Event]) -> int:
        """Keep the events whose ids are new; tell how many they were."""
        with self._writing() as db:
            touched = {event.suggestion for event in events}
            before = {name: _events_of(db, name) for name in touched}
            added = 0
            for event in events:
                row = (event.id, event.suggestion, event.user, to_json(event))
                added += db.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", row).rowcount
            if added:
                after = {name: _events_of(db, name) for name in touched}
                _add(db, differences(before, after).items())
        return added

    def enqueue(self, events: Sequence[Event]) -> None:
        """Keep the events; they count at once."""
        self.append(events)

    def count(self, worker: str, idle_s: float = 60.0) -> int:
        """Find nothing to do."""
        del worker, idle_s
        return 0

    def events(self) -> Iterator[Event]:
        """Everything that is kept, as of now."""
        with self._reading() as db:
            bodies = db.execute("SELECT body FROM event")
            while rows := bodies.fetchmany(_ROWS):
                yield from (from_json(row[0]) for row in rows)

    def cells(self) -> Iterator[tuple[Cell, Counts]]:
        """Everything counted."""
        size = len(Cell._fields)
        with self._reading() as db:
            rows = db.execute("SELECT * FROM cell").fetchall()
        for row in rows:
            yield Cell._make(row[:size]), Counts._make(row[size:])

    def purge(self, user: str) -> int:
        """Erase the suggestions of a user, also from free pages and the log."""
        query = "SELECT DISTINCT suggestion FROM event WHERE user = ?"
        with self._writing() as db:
            theirs = [row[0] for row in db.execute(query, (user,))]
            before = {name: _events_of(db, name) for name in theirs}
            _add(db, differences(before, {}).items())
            db.executemany("DELETE FROM event WHERE suggestion = ?", ((name,) for name in theirs))
            db.execute("DELETE FROM cell WHERE user = ?", (user,))
        with self._writes, _asking():
            if self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreAway("the store is being read: its log still has what was erased")
        return len(theirs)

    def close(self) -> None:
        """Close the file."""
        with self._reads, self._writes:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._reads, _asking():
            yield self._reader

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which nobody else writes beside; an exception undoes it."""
        with self._writes, _asking():
            db = self._writer
            _begin(db, self._wait_s)
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")


def _connection(address: str, wait_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(address, timeout=wait_s, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    return db


def _begin(db: sqlite3.Connection, wait_s: float) -> None:
    """Begin to write as soon as nobody else does.

    SQLite's own waiting sleeps ever longer, so beside who writes without a pause it gets no turn.
    """
    end = time.monotonic() + wait_s
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > end:
                    raise
            time.sleep(_TURN_S)
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _away(error) from error


def _away(error: Exception) -> StoreAway:
    return StoreAway(f"the store cannot be used: {error}; is its disk full?")


def _make_cells(db: sqlite3.Connection) -> None:
    """Make the table of counts; one that counts less, of an older release, is taken over."""
    wanted = [*Cell._fields, *Counts._fields]
    if _columns(db) == wanted:
        return  # nothing to write, so nobody to wait for
    db.execute("BEGIN IMMEDIATE")
    there = _columns(db)
    if there and there != wanted:
        db.execute("ALTER TABLE cell RENAME TO cell_before")
        db.execute(_CELLS)
        names = ", ".join(name for name in there if name in wanted)
        db.execute(f"INSERT INTO cell ({names}) SELECT {names} FROM cell_before")
        db.execute("DROP TABLE cell_before")
    db.execute(_CELLS)
    db.execute("COMMIT")


def _columns(db: sqlite3.Connection) -> list[str]:
    return [row[1] for row in db.execute("PRAGMA table_info(cell)")]


def _version(row: Sequence[object]) -> Version:
    key, revision, at, who, why, body = row
    flag = definition.from_json(str(key), str(body))
    return Version(flag, int(str(revision)), float(str(at)), str(who), str(why))


def _events_of(db: sqlite3.Connection, suggestion: str) -> list[Event]:
    rows = db.execute("SELECT body FROM event WHERE suggestion = ?", (suggestion,))
    return [from_json(row[0]) for row in rows]


def _add(db: sqlite3.Connection, changes: Iterable[tuple[Cell, Counts]]) -> None:
    db.executemany(_ADD, ((*cell, *counts) for cell, counts in changes))
