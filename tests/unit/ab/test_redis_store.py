"""Redis may be killed and come back: what it acknowledged is there, and the store goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ab.errors import StoreAway
from ab.events import Event, Kind
from ab.flags import Flag
from ab.stores.registry import open_store
from tests.fakes.redis_server import redis_server

EVENTS = [Event(f"e{n}", Kind.SHOWN, 1e9, f"s{n}", "ada") for n in range(20)]


@pytest.mark.needs("redis")
def test_nothing_acknowledged_is_lost_when_redis_is_killed(tmp_path: Path) -> None:
    with redis_server(tmp_path) as address:
        store = open_store(address)
        store.append(EVENTS[:10])
        store.put(Flag("model", {"a": 1}, "a"), 0, 1e9, "ada", "")
    with pytest.raises(StoreAway):
        store.append(EVENTS)
    with pytest.raises(StoreAway):
        store.flags()
    with redis_server(tmp_path, urlsplit(address).port):
        assert store.append(EVENTS) == 10
        assert [counts.shown for _, counts in store.cells()] == [20]
        assert store.flags()["model"].revision == 1
        store.close()


@pytest.mark.needs("redis")
def test_what_a_dead_worker_took_is_counted_by_another(tmp_path: Path) -> None:
    with redis_server(tmp_path) as address, closing(open_store(address)) as store:
        store.enqueue(EVENTS[:10])
        store.enqueue(EVENTS[10:])
        db = store._db  # type: ignore[attr-defined]
        assert store.count("nobody") == 20
        store.enqueue(EVENTS[:15])
        db.xreadgroup("counting", "dead", {"tabwright:inbox": ">"})
        assert store.count("living", idle_s=60) == 0, "it may be at work"
        assert store.count("living", idle_s=0) == 15
        assert db.xlen("tabwright:inbox") == 0
        assert [counts.shown for _, counts in store.cells()] == [20], "each once"
