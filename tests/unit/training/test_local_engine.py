"""The pool of processes behind the local engine is renewed, and does every part once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.data.config import DataConfig
from training.data.engine import Step
from training.data.engines.local import open_engine
from training.data.run import Run, open_run, whole


def note_process(run: Run, part: int) -> None:
    """A step whose output names the process that made it."""
    with whole(run.part("noted", part)) as partial:
        partial.write_text(str(os.getpid()))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for number in range(5):
        source = tmp_path / "code" / f"repo{number}"
        source.mkdir(parents=True)
        (source / "one.py").write_text(f"x = {number}\n")
    config = {
        "source": [{"kind": "folder", "name": "found", "folder": str(tmp_path / "code")}],
        "read": {"part_mb": 1},
    }
    return open_run(tmp_path / "run", DataConfig.model_validate(config))


def test_workers_are_replaced_after_their_share_of_the_parts(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.engines.local._PARTS_PER_WORKER", 1)
    with open_engine(workers=2) as engine:
        engine.map(Step("noted", note_process), run, range(5))
        first = {run.part("noted", part).read_text() for part in range(5)}
        for part in range(5):
            run.part("noted", part).unlink()
        engine.map(Step("noted", note_process), run, range(2))
    last = {run.part("noted", part).read_text() for part in range(2)}
    assert len(first) >= 3, "two processes may do two parts"
    assert not first & last
