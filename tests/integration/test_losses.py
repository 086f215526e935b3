"""Whatever is killed or full: every acknowledged event is found again, and each counts once."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ab.store import Store
from ab.stores.registry import open_store
from tabwright.artifact import ModelArtifact
from tests.fakes.redis_server import redis_server
from tests.fakes.served import Served, serve_command
from tests.fakes.small_disk import SmallDisk, small_disk

EACH = 100
BODY = {"prefix": "x = ", "suffix": "\n", "stream": False}


def batch(number: int) -> list[dict[str, Any]]:
    names = [f"{number}-{n}" for n in range(EACH)]
    return [{"id": f"e{name}", "suggestion_id": f"s{name}", "kind": "shown"} for name in names]


def send(client: httpx.Client, number: int) -> int:
    return client.post("/v1/suggestions/events", json={"events": batch(number)}).status_code


def ids(numbers: set[int]) -> set[str]:
    return {event["id"] for number in numbers for event in batch(number)}


def settled(store: Store) -> None:
    while store.count("test", 0):
        pass


def shown(store: Store) -> int:
    return sum(counts.shown for _, counts in store.cells())


@contextmanager
def gateway(tiny: ModelArtifact, folder: Path, store: str, disk: SmallDisk) -> Iterator[Served]:
    spool = str(disk.folder / "spool")
    flags = ("--store", store, "--spool-dir", spool, "--spool-mb", "100")
    with serve_command(tiny.path, folder, *flags, inside=disk.inside) as served:
        yield served


@pytest.mark.needs("small disk")
def test_with_a_full_disk_and_a_killed_gateway_nothing_acknowledged_is_lost(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 3) as disk:
        store = str(disk.folder / "ab.sqlite")
        kept: set[int] = set()
        with gateway(tiny, tmp_path, store, disk) as served:
            with httpx.Client(base_url=served.url, timeout=30) as client:
                number = refused = 0
                while refused < 3:
                    status = send(client, number)
                    assert status in (202, 503)
                    refused += status == 503
                    kept |= {number} if status == 202 else set()
                    number += 1
                assert client.post("/v1/suggestions", json=BODY).status_code == 200
            served.stop(signal.SIGKILL)
        assert len(kept) > 5
        disk.grow(64)
        with gateway(tiny, tmp_path, store, disk) as served:
            served.wait(lambda: not list((disk.seen / "spool").glob("*.jsonl")), "it is moved")
            with httpx.Client(base_url=served.url, timeout=30) as client:
                for again in (*kept, *kept):
                    assert send(client, again) == 202
            served.stop(signal.SIGKILL)
        for name in ("ab.sqlite", "ab.sqlite-wal"):
            shutil.copy(disk.seen / name, tmp_path / name)
    with closing(open_store(str(tmp_path / "ab.sqlite"))) as copied:
        found = {event.id for event in copied.events()}
        assert ids(kept) <= found <= ids(set(range(number)))
        assert shown(copied) == len(found), "each once, however often it came"
    with closing(sqlite3.connect(tmp_path / "ab.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
@pytest.mark.needs("redis")
def test_redis_and_gateway_killed_one_after_the_other_lose_nothing_acknowledged(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    kept: set[int] = set()
    with redis_server(tmp_path) as address:
        flags = ("--store", address, "--spool-dir", str(tmp_path / "spool"))
        with serve_command(tiny.path, tmp_path, *flags) as served:
            kept |= _sent(served, range(20))
            served.stop(signal.SIGKILL)
        with serve_command(tiny.path, tmp_path, *flags) as served:
            kept |= _sent(served, range(20, 30))
            served.stop(signal.SIGKILL)
    with serve_command(tiny.path, tmp_path, *flags) as served:  # Redis was killed, too
        kept |= _sent(served, range(30, 40))
        served.stop(signal.SIGKILL)
    assert kept == set(range(40)), "each was taken, by Redis or by the disk"
    with (
        redis_server(tmp_path, urlsplit(address).port),
        closing(open_store(address)) as store,
        serve_command(tiny.path, tmp_path, *flags) as served,
    ):
        assert _sent(served, range(40)) == kept
        served.wait(lambda: not list((tmp_path / "spool").glob("*.jsonl")), "it is moved")
        end = time.monotonic() + 30
        while shown(store) < len(ids(kept)) and time.monotonic() < end:
            settled(store)
            time.sleep(0.05)
        assert {event.id for event in store.events()} == ids(kept)
        assert shown(store) == len(ids(kept))


def _sent(served: Served, numbers: range) -> set[int]:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        return {number for number in numbers if send(client, number) == 202}
