"""What waits on the disk outlives a crash, goes to the store once it is back, and has a limit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ab.errors import StoreAway
from ab.events import Event, Kind
from ab.spool import Spool
from tabwright.errors import ConfigError

EVENTS = [Event(f"e{n}", Kind.SHOWN, 1e9 + n, f"s{n}", "ada") for n in range(2_500)]


def kept_by(spool: Spool) -> list[Event]:
    kept: list[Event] = []
    spool.empty(kept.extend)
    return kept


def test_everything_written_comes_out_once_and_in_batches(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "spool", 1 << 20)
    spool.write(EVENTS[:2_000])
    spool.write(EVENTS[2_000:])
    assert len(spool) > 0
    sizes: list[int] = []
    assert spool.empty(lambda events: sizes.append(len(events))) == 2_500
    assert sizes == [1_000, 1_000, 500]
    assert (len(spool), kept_by(spool)) == (0, [])


def test_what_a_killed_gateway_left_is_taken_and_a_torn_line_is_not(tmp_path: Path) -> None:
    dead, living = Spool(tmp_path, 1 << 20), Spool(tmp_path, 1 << 20)
    dead.write(EVENTS[:2])
    assert kept_by(living) == [], "it has an owner"
    assert dead._file is not None
    os.write(dead._file, b'{"id":"torn')
    os.close(dead._file)  # as the system does when a process is killed
    assert kept_by(living) == EVENTS[:2]
    assert list(tmp_path.iterdir()) == []


def test_what_the_store_does_not_take_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    spool.write(EVENTS)
    taken: list[Event] = []

    def some(events: Sequence[Event]) -> None:
        if taken:
            raise StoreAway("gone again")
        taken.extend(events)

    with pytest.raises(StoreAway):
        spool.empty(some)
    assert kept_by(spool) == EVENTS, "the first thousand come again, with the same ids"


def test_a_full_folder_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 5_000)
    spool.write(EVENTS[:50])
    with pytest.raises(OSError, match="spool_mb"):
        spool.write(EVENTS[50:100])
    spool.write(EVENTS[50:51])
    assert kept_by(spool) == EVENTS[:51]


def test_a_write_that_fails_half_way_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, 1 << 20)
    spool.write(EVENTS[:1])
    real = os.write

    def short(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real(file, data[: len(data) - 50])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        spool.write(EVENTS[1:3])
    monkeypatch.undo()
    spool.write(EVENTS[3:4])
    assert kept_by(spool) == [EVENTS[0], EVENTS[3]]


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="spool_dir"):
        Spool(tmp_path / "file" / "spool", 1)
