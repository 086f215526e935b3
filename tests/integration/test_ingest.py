"""Events reach the store through HTTP: nothing acknowledged is lost, whoever is killed when."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ab.flags import Arm, Flag, Rollout
from ab.rollup import Counts
from ab.store import Store
from ab.stores.registry import open_store
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import live_gateway
from tests.fakes.redis_server import redis_server
from tests.fakes.served import Served, serve_command

BODY = {"prefix": "def f():\n    return ", "suffix": "\n", "path": "a.py", "stream": False}


def shown(number: int) -> dict[str, Any]:
    return {"id": f"e{number}", "suggestion_id": f"s{number}", "kind": "shown"}


def report(url: str, *events: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{url}/v1/suggestions/events", json={"events": events}, timeout=30)


def total(store: Store, worker: str = "test") -> Counts:
    while store.count(worker, 0):
        pass
    found = Counts()
    for _, counts in store.cells():
        found = Counts(*(a + b for a, b in zip(found, counts, strict=True)))
    return found


def until(store: Store, wanted: int, within_s: float = 60.0) -> None:
    start = time.monotonic()
    while (found := total(store).shown) != wanted:
        assert found < wanted, "something counts twice"
        assert time.monotonic() - start < within_s, f"{found} of {wanted} are counted"
        time.sleep(0.05)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(str(tmp_path / "ab.sqlite"))) as store:
        yield store


def gateway(tiny: ModelArtifact, folder: Path, **more: Any) -> Any:
    given: dict[str, Any] = {"store": str(folder / "ab.sqlite"), "spool_dir": folder / "spool"}
    return live_gateway(tiny, options={"answer": "x = 1"}, **(given | more))


def test_the_life_of_a_suggestion_is_counted_with_its_variant(
    tiny: ModelArtifact, tmp_path: Path, sqlite: Store
) -> None:
    flag = Flag("model", {"a": "tiny"}, "a", rollout=Rollout(100_000, (Arm("a", 1),), "s"))
    sqlite.put(flag, 0, time.time(), "ada", "test")
    with gateway(tiny, tmp_path) as live:
        asked = httpx.post(f"{live.url}/v1/suggestions", json=BODY | {"user": "ada"}).json()
        about = {"suggestion_id": asked["id"]}
        batch: list[dict[str, Any]] = [
            about | {"id": "1", "kind": "shown"},
            about | {"id": "2", "kind": "accepted", "part": "word", "chars": 4, "shown_ms": 900},
            about | {"id": "3", "kind": "retained", "retained": {"after_s": 30, "share": 0.5}},
        ]
        for _ in range(2):
            answer = report(live.url, *batch)
            assert answer.status_code == 202
        assert answer.json() == {"counted": 0, "unknown": 0, "repeated": 3}
    ((cell, counts),) = sqlite.cells()
    assert (cell.user, cell.variant, cell.arms) == ("ada", "tiny", "model=a")
    assert (cell.language, cell.editor) == ("python", "native")
    told = (counts.requested, counts.shown, counts.accepted, counts.word, counts.chars)
    assert told == (1, 1, 1, 1, 4)
    assert (counts.known_30, counts.kept_30, counts.dwelt, counts.begun) == (1, 500, 1, 1)


def test_a_gateway_that_is_killed_loses_nothing_acknowledged(
    tiny: ModelArtifact, tmp_path: Path, sqlite: Store
) -> None:
    acknowledged = 0
    flags = ("--store", str(tmp_path / "ab.sqlite"), "--spool-dir", str(tmp_path / "spool"))

    with serve_command(tiny.path, tmp_path, *flags) as served:
        first = threading.Event()

        def kill() -> None:
            first.wait(60)
            time.sleep(0.7)
            served.process.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with httpx.Client(base_url=served.url, timeout=20) as client:
            for start in range(0, 1_000_000, 20):
                batch = {"events": [shown(number) for number in range(start, start + 20)]}
                try:
                    answer = client.post("/v1/suggestions/events", json=batch)
                except httpx.TransportError:
                    break
                assert answer.status_code == 202
                acknowledged = start + 20
                first.set()
        killer.join()
    assert acknowledged
    found = {event.id for event in sqlite.events()}
    assert {f"e{number}" for number in range(acknowledged)} <= found
    assert len(found) <= acknowledged + 20


def test_while_store_and_disk_are_full_reports_are_refused_and_completions_go_on(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    away = "redis://127.0.0.1:1/0"
    with gateway(tiny, tmp_path, store=away, spool_dir=blocked, spool_mb=1) as live:
        assert report(live.url, shown(1)).status_code == 202, "it waits on the disk"
        spool = next(blocked.glob("*.jsonl"))
        (blocked / "another.jsonl").write_bytes(b" " * (1 << 20))
        refused = report(live.url, shown(2))
        assert refused.status_code == 503
        assert "send all of them again" in refused.json()["detail"]
        assert float(refused.headers["retry-after"]) >= 1
        assert report(live.url, shown(3)).status_code == 503, "at once, again and again"
        assert httpx.post(f"{live.url}/v1/suggestions", json=BODY).status_code == 200
    kept = [json.loads(line)["id"] for line in spool.read_text("utf-8").splitlines()]
    assert kept == ["e1"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"events": [shown(1) | {"at": time.time() + 9e6}]}, 400, "not in the future"),
        ({"events": [shown(1) | {"id": "x" * 200}]}, 400, "at most|pattern"),
        ({"events": [shown(n) for n in range(300)]}, 400, "at most 256"),
        ({"events": [shown(1) | {"id": "x" * 10_000_000}]}, 413, "larger than"),
    ],
)
def test_reports_that_cannot_be_are_refused_with_what_to_do(
    tiny: ModelArtifact, tmp_path: Path, body: Any, status: int, words: str
) -> None:
    with gateway(tiny, tmp_path) as live:
        answer = httpx.post(f"{live.url}/v1/suggestions/events", json=body, timeout=30)
        assert answer.status_code == status
        assert any(word in answer.text for word in words.split("|")), answer.text


def test_a_wrong_key_is_refused(tiny: ModelArtifact, tmp_path: Path) -> None:
    with gateway(tiny, tmp_path, api_key="right") as live:
        answer = httpx.post(
            f"{live.url}/v1/suggestions/events",
            json={"events": [shown(1)]},
            headers={"Authorization": "Bearer wrong"},
        )
        assert answer.status_code == 401
        assert "send 'Authorization: Bearer <key>'" in answer.text


@pytest.mark.needs("redis")
@pytest.mark.parametrize("away_s", [2.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_two_gateways_and_one_redis_that_is_killed_and_comes_back(
    tiny: ModelArtifact, tmp_path: Path, away_s: float
) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(ExitStack())
        address = redis.enter_context(redis_server(tmp_path))
        gateways = []
        for folder in (tmp_path / "one", tmp_path / "two"):
            folder.mkdir()
            run = serve_command(tiny.path, folder, *_flags(address, folder))
            gateways.append(stack.enter_context(run))
        store = stack.enter_context(closing(open_store(address)))
        store.put(_flag(), 0, time.time(), "ada", "start")
        for served in gateways:
            _wait_variant(served, "old")
        redis.close()
        sent = _use_while_away(gateways, away_s)
        stack.enter_context(redis_server(tmp_path, urlsplit(address).port))
        store.put(_flag(enabled=True, to="new"), 1, time.time(), "ada", "flip")
        for served in gateways:
            _wait_variant(served, "new")
        until(store, sent)


def _flags(address: str, folder: Path) -> tuple[str, ...]:
    return ("--store", address, "--spool-dir", str(folder / "spool"))


def _flag(enabled: bool = True, to: str = "old") -> Flag:
    rollout = Rollout(100_000, (Arm(to, 1),), "s")
    return Flag("lines", {"old": "auto", "new": "single"}, "old", enabled, rollout=rollout)


def _ask(served: Served) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/suggestions", json=BODY | {"user": "ada"}, timeout=20)


def _wait_variant(served: Served, name: str) -> None:
    served.wait(
        lambda: _ask(served).headers.get("x-tabwright-variants") == f"lines={name}", f"gets {name}"
    )


def _use_while_away(gateways: list[Served], away_s: float) -> int:
    """Ask and report while Redis is not there; tell how many reports were acknowledged."""
    number, end = 0, time.monotonic() + away_s
    while time.monotonic() < end:
        for served in gateways:
            answer = _ask(served)
            assert answer.status_code == 200
            assert answer.headers["x-tabwright-variants"] == "lines=old", "flags stay in force"
            batch = [shown(n) for n in range(number, number + 5)]
            assert report(served.url, *batch).status_code == 202
            number += 5
        time.sleep(0.05)
    return number
