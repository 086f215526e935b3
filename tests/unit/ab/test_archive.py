"""Archived events are Parquet by day, the same if done again, and people can be erased."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import date
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from ab import archive
from ab.cli import main
from ab.errors import StoreAway
from ab.events import Event, Kind
from ab.spool import Spool
from ab.stores.registry import open_store
from tabwright.errors import ConfigError

NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAY_S = 86_400.0
EVENTS = [
    Event("e1", Kind.REQUESTED, NOON, "s1", "ada", "m1", "go", "native", "model=a", total_ms=81.5),
    Event("e2", Kind.DISMISSED, NOON + DAY_S, "s1", "ada", explicit=False),
    Event("e3", Kind.ACCEPTED, NOON, "s2", "bob", chars=7, part="word", shown_ms=900.0),
]


def test_events_come_back_as_they_were_by_day(tmp_path: Path) -> None:
    assert archive.write(EVENTS, tmp_path) == {"2026-11-21": 2, "2026-11-22": 1}
    assert sorted(archive.read(tmp_path), key=lambda e: e.id) == EVENTS
    table = ds.dataset(tmp_path, partitioning="hive").to_table()
    days = sorted(zip(table["id"].to_pylist(), map(str, table["day"].to_pylist()), strict=True))
    assert days == [("e1", "2026-11-21"), ("e2", "2026-11-22"), ("e3", "2026-11-21")]


def test_archiving_again_takes_late_events_in_and_doubles_nothing(tmp_path: Path) -> None:
    archive.write(EVENTS[:2], tmp_path)
    archive.write(EVENTS, tmp_path)
    assert len(list(archive.read(tmp_path))) == 3
    later = archive.write(EVENTS, tmp_path / "later", date(2026, 11, 22))
    assert later == {"2026-11-22": 1}


def test_a_store_that_fails_half_way_leaves_the_old_files(tmp_path: Path) -> None:
    def broken() -> object:
        yield EVENTS[0]
        raise StoreAway("gone")

    archive.write(EVENTS, tmp_path)
    with pytest.raises(StoreAway):
        archive.write(broken(), tmp_path)  # type: ignore[arg-type]
    assert len(list(archive.read(tmp_path))) == 3


SPOOLED = [Event(f"w-{who}", Kind.SHOWN, 1e9, f"s-{who}", who) for who in ("ada", "bob")]


def test_the_commands_archive_and_erase_a_person_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, folder = str(tmp_path / "ab.sqlite"), tmp_path / "archive"
    with closing(open_store(address)) as store:
        store.append(EVENTS)
    assert main(["archive", str(folder), "--store", address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"2026-11-21": 2, "2026-11-22": 1}
    given = ["--user", "ada", "--store", address, "--archive", str(folder), "--json"]
    assert main(["purge", *given]) == 0
    told = {"suggestions": 1, "archived_events": 2, "waiting_bytes": 0}
    assert json.loads(capsys.readouterr().out) == told
    assert list(archive.read(folder)) == EVENTS[2:]


def test_what_waits_on_the_disk_is_erased_too_and_that_of_others_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ab.events_cli._EMPTIED_S", 0.1)
    address, folder = str(tmp_path / "ab.sqlite"), tmp_path / "spool"
    gateway = Spool(folder, 1 << 20)
    gateway.write(SPOOLED)
    given = ["purge", "--user", "ada", "--store", address, "--spool", str(folder), "--json"]
    assert main(given) == 1, "a gateway that runs has to move its own"
    said = capsys.readouterr()
    assert json.loads(said.out)["waiting_bytes"] == len(gateway) > 0
    assert "call purge again" in said.err
    gateway.close()
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["suggestions"] == 1
    assert not list(folder.iterdir())
    with closing(open_store(address)) as store:
        assert [event.user for event in store.events()] == ["bob"]
    given[6] = str(tmp_path / "gone")
    with pytest.raises(ConfigError, match="no folder"):
        main(given)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="DIR"):
        archive.write(EVENTS, tmp_path / "file")
