"""The file of events: whole lines, put aside at a size, shared by several writers."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from server.event_file import EventFile
from server.telemetry import EventKind, Part, Suggested, SuggestionEvent
from tabwright.errors import ConfigError


def an_event(name: str) -> SuggestionEvent:
    suggestion = Suggested("sug-1", "native", "k", "ada", "python", "tiny", "engine")
    return SuggestionEvent(name, EventKind.ACCEPTED, 12.5, suggestion, "native", part=Part.WORD)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def aside(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.jsonl.*"))


def test_an_event_is_one_line_with_the_fields_of_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = EventFile(path, 1 << 20)
    file.append([an_event("a"), an_event("b")])
    file.close()
    first, second = lines(path)
    assert second == first | {"id": "b"}
    assert first == {
        "id": "a",
        "kind": "accepted",
        "at": 12.5,
        "suggestion": {
            "id": "sug-1",
            "protocol": "native",
            "key": "k",
            "user": "ada",
            "language": "python",
            "model": "tiny",
            "source": "engine",
            "variants": "",
        },
        "reported_by": "native",
        "joined": True,
        "part": "word",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restart_appends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for name in ("a", "b"):
        file = EventFile(path, 1 << 20)
        file.append([an_event(name)])
        file.close()
    assert [row["id"] for row in lines(path)] == ["a", "b"]


def test_a_full_file_is_put_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = EventFile(path, 500)
    names = [f"event-{number:02}" for number in range(20)]
    for name in names:
        file.append([an_event(name)])
    file.close()
    assert len(aside(tmp_path)) > 3
    found = [row["id"] for part in (*aside(tmp_path), path) for row in lines(part)]
    assert found == names
    assert all(part.stat().st_size < 1000 for part in aside(tmp_path))


def test_writers_that_share_a_file_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    files = [EventFile(path, 500) for _ in range(2)]
    for number in range(20):
        files[number % 2].append([an_event(f"event-{number:02}")])
    for file in files:
        file.close()
    found = [row["id"] for part in (*aside(tmp_path), path) for row in lines(part)]
    assert sorted(found) == [f"event-{number:02}" for number in range(20)]
    assert all(part.stat().st_size > 400 for part in aside(tmp_path)), "put aside when full only"


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = EventFile(path, 1 << 20)
    path.unlink()
    file.append([an_event("a")])
    file.close()
    assert [row["id"] for row in lines(path)] == ["a"]


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"events_file: .* choose another path"):
        EventFile(tmp_path / "no" / "events.jsonl", 1 << 20)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_and_no_half_line_joins_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.symlink_to("/dev/full")
    file = EventFile(path, 1 << 20)
    with pytest.raises(OSError, match="No space left"):
        file.append([an_event("a")])
    path.unlink()
    file.append([an_event("a")])
    file.close()
    assert path.read_bytes().startswith(b"\n{")
