"""Measure events through HTTP batches, flips, reports over roll-ups and assignment; print JSON.

On an idle machine: `python docs/results/ingest.py >docs/results/ingest.json`.
The load generator shares the cores with the gateway and Redis, so all of it is in the figures.
`--events`, `--workers`, `--rows` make it smaller or larger.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ab.acceptance import Weighting
from ab.assignment import assign
from ab.flags import WHOLE, Arm, Flag, Rollout
from ab.report import Question, build
from ab.rollup import Cell, Counts
from ab.store import Store
from ab.stores.registry import open_store
from ab.stores.sqlite import SqliteStore

_BATCH = 256
_FLIPS = 4
_WATCHED_S = 2.0
_ACCEPTED = 3  # every so many-th suggestion


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=120_000)
    parser.add_argument("--workers", type=int, default=2, help="gateway processes")
    parser.add_argument("--senders", type=int, default=4, help="connections that send batches")
    parser.add_argument("--rows", type=int, default=40_000, help="roll-ups of ten million events")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told: dict[str, Any] = {"load_average": os.getloadavg()[0]}
        told["sqlite"] = _ingest(str(folder / "ab.sqlite"), folder, args)
        with _redis(folder) as address:
            told["redis"] = _ingest(address, folder, args)
        told["report"] = _report(folder / "many.sqlite", args.rows)
    told["assignment"] = {"plain": _assignment(None), "with_rule": _assignment(_RULE)}
    print(json.dumps(told, indent=2))


def _ingest(address: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Send events in batches; until the last one is acknowledged, and until it is counted."""
    with _gateway(address, folder, args.workers) as port, closing(open_store(address)) as store:
        bodies = [_body(start) for start in range(0, args.events, _BATCH)]
        sent = len(bodies) * _BATCH
        start = time.perf_counter()
        threads = [
            threading.Thread(target=_send, args=(port, bodies[number :: args.senders]))
            for number in range(args.senders)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        acknowledged_s = time.perf_counter() - start
        while (shown := _shown(store)) < sent // 2:
            time.sleep(0.05)
        counted_s = time.perf_counter() - start
        flips = _flips(store, port, bodies[:200])
        shown = _shown(store)
    assert shown == sent // 2, "each event counts once"
    return {
        "events": sent,
        "acknowledged_per_s": round(sent / acknowledged_s),
        "counted_per_s": round(sent / counted_s),
        "flip_s": flips,
        "workers": args.workers,
    }


def _body(start: int) -> bytes:
    """Shown and what followed, of half as many suggestions."""
    events = []
    for number in range(start, start + _BATCH, 2):
        about = {"suggestion_id": f"sug-{number:032x}", "at": time.time()}
        after = "accepted" if number % (2 * _ACCEPTED) == 0 else "dismissed"
        events.append(about | {"id": f"w{number}", "kind": "shown"})
        events.append(about | {"id": f"w{number}x", "kind": after, "shown_ms": 900})
    return json.dumps({"events": events}).encode()


def _send(port: int, bodies: list[bytes]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for number, body in enumerate(bodies):
        headers = {"Content-Type": "application/json", "X-Tabwright-User": f"u{number % 40}"}
        connection.request("POST", "/v1/suggestions/events", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        assert answer.status == 202, told
    connection.close()


def _flips(store: Store, port: int, bodies: list[bytes]) -> list[float]:
    """Seconds after which nobody gets the old variant, while the same events come once more."""
    rival = threading.Thread(target=_send, args=(port, bodies))
    rival.start()
    found = []
    for revision in range(_FLIPS):
        to = "ab"[revision % 2]
        flag = Flag("lines", {"a": "auto", "b": "single"}, to)
        store.put(flag, revision, time.time(), "results", "flip")
        start, old = time.perf_counter(), 0.0
        while (now := time.perf_counter() - start) < _WATCHED_S:
            if _variant(port) != f"lines={to}":
                old = now
        found.append(round(old, 3))
    rival.join()
    return found


def _variant(port: int) -> str:
    """What a new connection gets, so that each worker is asked."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = b'{"prefix": "x = ", "suffix": "", "stream": false, "user": "ada"}'
    connection.request("POST", "/v1/suggestions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
    connection.close()
    return answer.headers.get("X-Tabwright-Variants", "")


def _shown(store: Store) -> int:
    return sum(counts.shown for _, counts in store.cells())


@contextmanager
def _gateway(address: str, folder: Path, workers: int) -> Iterator[int]:
    command = [
        *(sys.executable, "-m", "tabwright", "serve", "--engine", "scripted", "--port", "0"),
        *("--store", address, "--spool-dir", str(folder / "spool"), "--workers", str(workers)),
        *("--log-level", "error"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops" not in said:
            line = process.stdout.readline()
            assert line, "the gateway did not start"
            said += line
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found is not None
        try:
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.close()
            process.wait(60)


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    command = [
        *("redis-server", "--port", "6390", "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        time.sleep(1)
        try:
            yield "redis://127.0.0.1:6390/0"
        finally:
            process.terminate()


def _report(path: Path, rows: int) -> dict[str, Any]:
    """Report over roll-ups that ten million events have left: what it costs goes by rows."""
    store = SqliteStore(str(path))
    each = 10_000_000 // (4 * rows)
    counts = Counts(requested=each, shown=each, accepted=each // 3, chars=each * 9, timed=each)
    places = [
        Cell(
            f"2026-11-{day:02}",
            f"u{user}",
            f"m{user % 2}",
            language,
            "native",
            f"model=a{user % 2}",
        )
        for day in range(1, 15)
        for language in ("python", "go", "typescript", "java")
        for user in range(rows // 14 // 4)
    ]
    columns = ", ".join("?" * (len(Cell._fields) + len(Counts._fields)))
    with store._writing() as db:
        db.executemany(
            f"INSERT INTO cell VALUES ({columns})",
            (
                (*place, *counts._replace(accepted=number % (each + 1), total_us=number * 1000))
                for number, place in enumerate(places)
            ),
        )
    question = Question(
        "a0", "a1", date(2026, 11, 8), date(2026, 11, 14), flag="model", weighting=Weighting.USERS
    )
    took = []
    for _ in range(5):
        start = time.perf_counter()
        report = build(store.cells(), question)
        took.append(time.perf_counter() - start)
    assert report.rows
    store.close()
    told = {"rows": len(places), "users": sum(report.users), "seconds": round(median(took), 3)}
    return told | {"command_s": _report_command(path, question)}


def _report_command(path: Path, question: Question) -> float:
    """Seconds of the whole command, days and groups included, as the console runs it."""
    command = [
        *(sys.executable, "-m", "tabwright", "ab", "report", "--json", "--store", str(path)),
        *("--flag", question.flag, "--control", question.control),
        *("--candidate", question.candidate, f"--since={question.since}"),
        f"--until={question.until}",
    ]
    took = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        took.append(time.perf_counter() - start)
    assert json.loads(done.stdout)["details"]["series"]
    return round(median(took), 3)


_RULE = {"if": [{"==": [{"var": "language"}, "go"]}, "old", None]}


def _assignment(rule: Any) -> dict[str, float]:
    """Microseconds of one assignment."""
    arms = (Arm("old", 1), Arm("new", 1))
    flag = Flag("model", {"old": "m1", "new": "m2"}, "old", targeting=rule,
                rollout=Rollout(WHOLE, arms, "model"))  # fmt: skip
    contexts = [
        {"targetingKey": f"developer-{n:014}", "language": "python", "editor": "native"}
        for n in range(20_000)
    ]
    took = []
    for context in contexts:
        start = time.perf_counter_ns()
        assign(flag, context)
        took.append(time.perf_counter_ns() - start)
    took.sort()
    return {"p50_us": took[len(took) // 2] / 1000, "p99_us": took[len(took) * 99 // 100] / 1000}


if __name__ == "__main__":
    main()
