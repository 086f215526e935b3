"""Runs of one tiny configuration on several numbers of ranks, and what is told of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Losses = dict[int, float]


class Worlds:
    """Trains into folders of `root`, which holds `config.toml`; data: shards."""

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self._data = root, data

    def train(self, **runs: tuple[int | str, ...]) -> dict[str, Losses]:
        """Runs by name, each (world, *overrides); returns the losses of each by step."""
        rows = [
            {"world": world, "config": str(self.root / "config.toml"), "set": sets,
             "data": str(self._data), "out": str(self.root / name)}
            for name, (world, *sets) in runs.items()
        ]  # fmt: skip
        file = self.root / "runs.json"
        file.write_text(json.dumps(rows))
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.training_worlds", str(file)],
            cwd=ROOT, capture_output=True, text=True, timeout=900,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return {name: self.losses(name) for name in runs}

    def losses(self, name: str) -> Losses:
        """Loss of each step of a run."""
        return {row["step"]: row["loss"] for row in self.metrics(name)}

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """All that a run noted."""
        text = (self.root / name / "metrics.jsonl").read_text()
        return [json.loads(row) for row in text.splitlines()]

    def checkpoint(self, name: str, step: int) -> Path:
        """Folder of a run's checkpoint."""
        return self.root / name / "checkpoints" / f"step-{step:08d}"

    def consumed(self, name: str, step: int) -> str:
        """What a checkpoint says of the samples that were read."""
        manifest = json.loads((self.checkpoint(name, step) / "manifest.json").read_text())
        return str(manifest["memory"]["consumed"])


def apart(one: Losses, other: Losses) -> float:
    """The largest difference of two runs' losses in the steps of `other`."""
    assert other
    assert other.keys() <= one.keys()
    return max(abs(one[step] - other[step]) for step in other)
