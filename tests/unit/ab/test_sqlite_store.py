"""What SQLite's store has acknowledged outlives its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ab.errors import StoreAway
from ab.events import Event, Kind
from ab.stores.registry import open_store
from tabwright.errors import ConfigError

ROOT = Path(__file__).parents[3]
WRITER = """
import itertools, sys
from ab.events import Event, Kind
from ab.stores.registry import open_store
store = open_store(sys.argv[1])
for n in itertools.count():
    store.append([Event(f"e{n}-{k}", Kind.SHOWN, 1e9, f"s{n}-{k}", "ada") for k in range(7)])
    print(n, flush=True)
"""


@pytest.mark.parametrize("batches", [3, 11])
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, batches: int
) -> None:
    path = str(tmp_path / "ab.sqlite")
    command = [sys.executable, "-c", WRITER, path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(batches)][-1] + 1
        writer.kill()
        acknowledged = max([acknowledged, *(int(line) + 1 for line in writer.stdout)])
    store = open_store(path)
    shown = sum(counts.shown for _, counts in store.cells())
    assert shown >= acknowledged * 7
    assert shown % 7 == 0, "a batch is kept whole or not at all"
    again = [Event(f"e0-{k}", Kind.SHOWN, 1e9, f"s0-{k}", "ada") for k in range(7)]
    assert store.append(again) == 0
    store.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a database, but long enough to look like one" * 40)
    with pytest.raises(ConfigError, match="notes"):
        open_store(str(tmp_path / "notes"))


def test_a_full_disk_keeps_nothing_of_the_batch(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "ab.sqlite"))
    store.append([Event("e0", Kind.SHOWN, 1e9, "s0", "ada")])
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]
    many = [Event(f"f{n}", Kind.SHOWN, 1e9, f"t{n}", "bob") for n in range(5_000)]
    with pytest.raises(StoreAway, match="full"):
        store.append(many)
    assert [(cell.user, counts.shown) for cell, counts in store.cells()] == [("ada", 1)]
    store._writer.execute("PRAGMA max_page_count = 1000000")  # type: ignore[attr-defined]
    assert store.append(many) == 5_000
    store.close()


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    open_store(str(tmp_path / "ab.sqlite")).close()
    assert (tmp_path / "ab.sqlite").stat().st_mode & 0o077 == 0
