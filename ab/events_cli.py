"""`tabwright ab ingest|archive|purge`: what each does with events. Read `add_verbs` first."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from ab import archive
from ab.errors import InvalidEvent
from ab.events import Event, read_line
from ab.settings import settings_of
from ab.spool import Spool
from ab.store import Store
from ab.stores.registry import open_store
from tabwright.errors import ConfigError

_BATCH = 1_000
_EMPTIED_S = 5.0  # a gateway needs half a second


def add_verbs(verb: Callable[..., argparse.ArgumentParser], verbs: Any) -> None:
    """Give the parser of `tabwright ab` the verbs of events."""
    made = verb(verbs, "ingest", "count the gateway's event files", _ingest,
                 "events.jsonl --store ab.sqlite")  # fmt: skip
    made.add_argument("files", nargs="+", type=Path, metavar="FILE", help="lines of events")
    made = verb(verbs, "purge", "erase what a user did", _purge, "--user ada --store ab.sqlite")
    made.add_argument("--user", required=True, help="as named in the events")
    made.add_argument("--archive", type=Path, help="folder of archived events to go through, too")
    made.add_argument(
        "--spool", type=Path, help="a gateway's spool_dir on this machine, to be emptied first"
    )
    made = verb(verbs, "archive", "write events as Parquet, a folder a day", _archive,
                 "events/ --store ab.sqlite")  # fmt: skip
    made.add_argument("folder", type=Path, metavar="DIR")
    made.add_argument("--since", type=day, help="first day, like 2026-11-01 (default: all)")


def day(text: str) -> date:
    """Read a day of an option."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it like 2026-11-01") from None


def _ingest(args: argparse.Namespace) -> int:
    read = kept = refused = 0
    with closing(open_store(args.address(args))) as store:
        for path in args.files:
            batch: list[Event] = []
            for event in _events(path):
                read += 1
                if isinstance(event, InvalidEvent):
                    refused += 1
                    print(f"{path}: {event}", file=sys.stderr)
                    continue
                batch.append(event)
                if len(batch) == _BATCH:
                    kept += store.append(batch)
                    batch = []
            kept += store.append(batch)
    told = {"read": read, "new": kept, "known": read - kept - refused, "refused": refused}
    print(json.dumps(told) if args.json else "  ".join(f"{k} {v}" for k, v in told.items()))
    return 1 if refused else 0


def _events(path: Path) -> Iterator[Event | InvalidEvent]:
    """Events of a file; in the place of a line that is none, what is wrong with it."""
    now = time.time()
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield read_line(line, now)
                except InvalidEvent as error:
                    yield InvalidEvent(f"line {number}: {error.field}", "...", error.fix)
    except OSError as error:
        raise ConfigError(f"FILE: {path} cannot be read: {error.strerror}") from None


def _purge(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    spool, folder = args.spool or settings.spool, args.archive or settings.archive
    with closing(open_store(settings.store)) as store:
        waiting = _emptied(spool, store) if spool else 0
        erased = store.purge(args.user)
    archived = archive.forget(folder, args.user) if folder else 0
    told = {"suggestions": erased, "archived_events": archived, "waiting_bytes": waiting}
    if args.json:
        print(json.dumps(told))
    else:
        print(f"erased {erased} suggestions, and {archived} archived events")
    if waiting:
        wait = f"{spool}: {waiting} bytes are a running gateway's own, and not in this store yet"
        print(f"{wait}; call purge again when it has moved them", file=sys.stderr)
    return 1 if waiting else 0


def _emptied(folder: Path, store: Store) -> int:
    """Move what waits on the disk into the store; tell how many bytes stay.

    What is a running gateway's own it moves by itself, as the store answers.
    """
    if not folder.is_dir():
        raise ConfigError(f"--spool: there is no folder {folder}; give a gateway's spool_dir")
    spool = Spool(folder, 0)
    end = time.monotonic() + _EMPTIED_S
    while len(spool):
        spool.empty(store.append)
        if not len(spool) or time.monotonic() > end:
            break
        time.sleep(_EMPTIED_S / 20)
    return len(spool)


def _archive(args: argparse.Namespace) -> int:
    with closing(open_store(args.address(args))) as store:
        count_all(store)
        days = archive.write(store.events(), args.folder, args.since)
    told = {"events": sum(days.values()), "days": len(days)}
    print(json.dumps(days) if args.json else "  ".join(f"{k} {v}" for k, v in told.items()))
    return 0


def count_all(store: Store) -> None:
    """Count what gateways have enqueued and nobody has counted yet."""
    while store.count("tabwright ab"):
        pass
