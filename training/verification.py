"""Was everything read that a run should have read, once and in its place?

Each checkpoint keeps a digest of all samples that the ranks read (`consumed.py`). Here the order is
made again from the run's configuration and its data alone, by one process, and the digests are
compared. Read `verify_order`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tabwright.errors import ConfigError
from training.config import TrainConfig
from training.consumed import Consumed
from training.data.shards import TRAIN, read_manifest
from training.reading import open_rows


class Checked(NamedTuple):
    """One checkpoint. recorded: by the ranks; expected: from the configuration."""

    step: int
    recorded: str
    expected: str

    @property
    def right(self) -> bool:
        """Whether the run read what it should have."""
        return self.recorded == self.expected


def verify_order(run: Path, data: Path) -> Iterator[Checked]:
    """Compare every checkpoint of a run, the earliest first.

    Raises:
        ConfigError: no such run or no checkpoint, or the data are not those it was trained on.
    """
    config = _config(run, read_manifest(data)["digest"])
    recorded = _recorded(run)
    loader = open_rows(config, data, TRAIN)
    consumed, row, size = Consumed(), 0, config.data.batch_rows
    for step, digest in sorted(recorded.items()):
        for number in range(row, step * size):
            consumed.add([number], [loader.samples(number)])
        row = step * size
        consumed.gather(consumed.lanes)
        yield Checked(step, digest, consumed.digest())


def _config(run: Path, data: str) -> TrainConfig:
    file = run / "run.json"
    try:
        told = json.loads(file.read_text("utf-8"))
        config = TrainConfig.model_validate(told["config"])
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(f"--run {run}: no run ({error})") from error
    if told["data"] != data:
        raise ConfigError(f"--data: digest {data}; the run was trained on {told['data']}")
    return config


def _recorded(run: Path) -> dict[int, str]:
    found = {}
    for file in (run / "checkpoints").glob("step-*/manifest.json"):
        manifest = json.loads(file.read_text("utf-8"))
        found[int(manifest["step"])] = str(manifest["memory"]["consumed"])
    if not found:
        raise ConfigError(f"--run {run}: no checkpoint in it")
    return found
