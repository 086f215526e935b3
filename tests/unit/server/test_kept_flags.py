"""Flags outlive a gateway in a file that is only its owner's, and never take it down."""

from __future__ import annotations

from pathlib import Path

import pytest

from ab.flags import Arm, Flag, Rollout
from ab.store import Version
from server.kept_flags import KeptFlags

FLAG = Flag("model", {"a": 1}, "a", overrides={"ada": "a"}, rollout=Rollout(5, (Arm("a", 1),), "s"))
VERSIONS = {"model": Version(FLAG, 3, 1e9, "ada", "because")}


def test_flags_come_back_as_they_were(tmp_path: Path) -> None:
    KeptFlags(tmp_path / "spool", "redis://one").write(VERSIONS)
    assert KeptFlags(tmp_path / "spool", "redis://one").read() == VERSIONS
    (path,) = (tmp_path / "spool").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    KeptFlags(tmp_path / "spool", "redis://one").write({})
    assert KeptFlags(tmp_path / "spool", "redis://one").read() == {}


def test_those_of_another_store_are_not_taken(tmp_path: Path) -> None:
    KeptFlags(tmp_path, "redis://:secret@one").write(VERSIONS)
    assert KeptFlags(tmp_path, "redis://two").read() == {}
    assert b"secret" not in (tmp_path / "flags.json").read_bytes()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"store":1', b"\xff", b'{"flags": 3}'])
def test_a_file_that_is_broken_is_no_flags(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flags.json").write_bytes(content)
    assert KeptFlags(tmp_path, "redis://one").read() == {}
    assert "cannot be read" in caplog.text


def test_a_folder_that_cannot_be_written_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    KeptFlags(tmp_path / "file" / "spool", "redis://one").write(VERSIONS)
    assert "not kept" in caplog.text
