"""Where measurements go besides the run's own files, if `[tracking]` asks for it.

Weights & Biases and TensorBoard are in the extra `tracking`; without a key W&B keeps its files in
the run's folder, from where `wandb sync` sends them.
"""

from __future__ import annotations

import netrc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tabwright.errors import MissingExtra
from training.config import TrainConfig

EXTRA = "tracking"
_WANDB_HOST = "api.wandb.ai"


class Tracker(Protocol):
    """One place that measurements are sent to."""

    def log(self, step: int, row: dict[str, float]) -> None:
        """Take the numbers of a step."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


@contextmanager
def trackers(config: TrainConfig, out: Path) -> Iterator[list[Tracker]]:
    """Open those that the config names.

    Raises:
        MissingExtra: its package is not installed.
    """
    made: list[Tracker] = []
    try:
        if config.tracking.wandb_project:
            made.append(Wandb(config, out))
        if config.tracking.tensorboard:
            made.append(TensorBoard(out))
        yield made
    finally:
        for one in made:
            one.close()


class Wandb:
    """A run of a Weights & Biases project."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise MissingExtra("wandb", EXTRA) from error
        self._run: Any = wandb.init(
            project=config.tracking.wandb_project,
            name=out.name,
            dir=str(out),
            config=config.model_dump(mode="json"),
            mode="online" if _has_key() else "offline",
        )

    def log(self, step: int, row: dict[str, float]) -> None:
        """Take the numbers of a step."""
        self._run.log(row, step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


class TensorBoard:
    """Event files in the run's folder `tensorboard`."""

    def __init__(self, out: Path) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its own imports
                from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise MissingExtra("tensorboard", EXTRA) from error
        self._writer: Any = SummaryWriter(str(out / "tensorboard"))

    def log(self, step: int, row: dict[str, float]) -> None:
        """Take the numbers of a step."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Send what is left."""
        self._writer.close()


def numbers(row: dict[str, Any], above: str = "") -> dict[str, float]:
    """The numbers of a row, those of tables within it by their whole names."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{above}{name}/")
        elif isinstance(value, int | float) and name != "step":
            found[above + name] = float(value)
    return found


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(_WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
