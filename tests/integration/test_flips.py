"""A flip reaches every gateway in a second, whatever else their store is busy with."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ab.events import Event, Kind
from ab.flags import Arm, Flag, Rollout
from ab.store import Store
from ab.stores.registry import open_store
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.redis_server import redis_server
from tests.fakes.stuck_wire import StuckWire, stuck_wire

BODY = {"prefix": "x = ", "suffix": "\n", "stream": False, "user": "ada"}
FLIPS = 3


def flag(to: str) -> Flag:
    rollout = Rollout(100_000, (Arm(to, 1),), "s")
    return Flag("model", {"old": "tiny", "new": "next"}, "old", rollout=rollout)


@contextmanager
def gateways(tiny: ModelArtifact, folder: Path, address: str) -> Iterator[list[LiveGateway]]:
    """Two, each with two models."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                live_gateway(
                    tiny,
                    options={"answer": "OLD"},
                    others={"next": {"answer": "NEW"}},
                    store=address,
                    spool_dir=folder / f"spool-{name}",
                )
            )
            for name in ("one", "two")
        ]


@contextmanager
def asking(lives: list[LiveGateway]) -> Iterator[list[str]]:
    """Ask all of them without a pause; one answer that is no completion fails the block."""
    answers: list[str] = []
    over = threading.Event()

    def ask(live: LiveGateway) -> None:
        with httpx.Client(base_url=live.url, timeout=20) as client:
            while not over.is_set():
                answer = client.post("/v1/suggestions", json=BODY)
                answers.append(answer.json()["model"] if answer.is_success else answer.text)

    threads = [threading.Thread(target=ask, args=(live,)) for live in lives]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(answers) <= {"tiny", "next"}, "nothing is dropped"


def seen(lives: list[LiveGateway], revision: int) -> float:
    """Seconds until all of them go by the flag's `revision`."""
    known: Callable[[LiveGateway], Any] = lambda live: live.gateway.flags.versions.get("model")  # noqa: E731
    return max(
        live.wait(
            lambda live=live: (v := known(live)) is not None and v.revision == revision,  # type: ignore[misc]
            f"revision {revision}",
        )
        for live in lives
    )


@contextmanager
def written_to(store: Store) -> Iterator[None]:
    """Put events into the store without a pause."""
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 500
            store.append(
                [Event(f"e{n}", Kind.SHOWN, 1e9, f"s{n}") for n in range(number - 500, number)]
            )

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_flip_arrives_while_others_write_and_lock_the_file(
    tiny: ModelArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.flag_watch.ANNOUNCE_S", 0.05)  # there is always one that waits
    address = str(tmp_path / "ab.sqlite")
    took = []
    with (
        closing(open_store(address)) as store,
        closing(open_store(address)) as busy,
        closing(sqlite3.connect(address, isolation_level=None, timeout=30)) as lock,
    ):
        store.put(flag("old"), 0, time.time(), "ada", "begin")
        with gateways(tiny, tmp_path, address) as lives, asking(lives) as answers:
            for revision in range(1, 2 * FLIPS, 2):
                with written_to(busy):
                    store.put(flag("new"), revision, time.time(), "ada", "flip")
                    took.append(seen(lives, revision + 1))
                store.put(flag("new"), revision + 1, time.time(), "ada", "flip")
                lock.execute("BEGIN IMMEDIATE")
                took.append(seen(lives, revision + 2))
                lock.execute("ROLLBACK")
            assert "next" in answers
    assert median(took) <= 1, took


@pytest.mark.needs("redis")
def test_a_flip_arrives_as_soon_as_redis_can_be_reached_though_connections_hang(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    took = []
    with (
        redis_server(tmp_path) as direct,
        stuck_wire(urlsplit(direct).port or 0) as wire,
        closing(open_store(direct)) as store,
        gateways(tiny, tmp_path, f"redis://127.0.0.1:{wire.port}/0") as lives,
    ):
        store.put(flag("old"), 0, time.time(), "ada", "begin")
        seen(lives, 1)
        with asking(lives) as answers:
            for revision in range(1, FLIPS):
                took.append(_flipped_behind_a_cut(wire, store, lives, revision))
            assert "next" in answers
        wire.drop()  # who still waits on a dead connection need not do so to the end
    assert median(took) <= 1, took


def _flipped_behind_a_cut(
    wire: StuckWire, store: Store, lives: list[LiveGateway], revision: int
) -> float:
    """Seconds from when Redis can be reached again until both have what was flipped meanwhile."""
    wire.cut()
    for live in lives:
        live.wait(lambda live=live: live.gateway.flags.away, "it is noticed")  # type: ignore[misc]
    store.put(flag("new"), revision, time.time(), "ada", "flip")
    time.sleep(0.3 * revision)
    wire.mend()
    return seen(lives, revision + 1)


def ready(live: LiveGateway) -> Any:
    answer = httpx.get(f"{live.url}/readyz")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.needs("redis")
def test_a_gateway_that_starts_without_its_store_goes_by_the_flags_of_its_last_run(
    tiny: ModelArtifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def served(address: str) -> Any:
        others = {"next": {"answer": "NEW"}}
        return live_gateway(tiny, others=others, store=address, spool_dir=tmp_path / "spool")

    with redis_server(tmp_path) as address, closing(open_store(address)) as store:
        store.put(flag("new"), 0, time.time(), "ada", "begin")
        with served(address) as live:
            told = ready(live)
            assert (told["flags"], told["models"]) == ("current", {"tiny": "ok", "next": "ok"})
    with served(address) as live:
        assert "those of the last run are in force" in caplog.text
        assert httpx.post(f"{live.url}/v1/suggestions", json=BODY).json()["model"] == "next"
        assert ready(live)["flags"] == "kept"
        assert live.counted("tabwright_flag_store_away") == 1
        assert live.counted("tabwright_flags") == 1
        assert httpx.get(f"{live.url}/v1/admin/flags", timeout=20).status_code == 503
        port = urlsplit(address).port
        with redis_server(tmp_path, port), closing(open_store(address)) as store:
            store.put(flag("old"), 1, time.time(), "ada", "back")
            seen([live], 2)
            live.wait(lambda: ready(live)["flags"] == "current", "it says so")
            assert live.counted("tabwright_flag_store_away") == 0
        live.wait(lambda: ready(live)["flags"] == "last_known", "it says so")
    caplog.clear()
    with served("redis://127.0.0.1:1/1") as live:
        assert "defaults are in force" in caplog.text
        assert httpx.post(f"{live.url}/v1/suggestions", json=BODY).json()["model"] == "tiny"
        assert ready(live)["flags"] == "defaults"
