"""What a run's folder tells, put together for its page. Read `write_card`.

Of a step that was made more than once, after a restart or a rollback, the last time counts; what
was left out by a rollback stays in the run's own files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabwright.errors import ConfigError
from training.records import METRICS, SAMPLES, SPIKES, STARTS, Row, read_lines

PAGE = "card.html"


@dataclass(frozen=True, slots=True)
class Card:
    """A run as its files have it. steps: rows by step, ascending."""

    name: str
    run: dict[str, Any]
    steps: tuple[Row, ...]
    starts: tuple[Row, ...]
    spikes: tuple[Row, ...]
    samples: tuple[Row, ...]


def read_card(folder: Path) -> Card:
    """Read the files of a run.

    Raises:
        ConfigError: `folder` is no run's.
    """
    try:
        run = json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no training run ({error})") from error
    by_step = {row["step"]: row for row in read_lines(folder / METRICS)}
    sampled = {(row["step"], row["prefix"], row["suffix"]): row
               for row in read_lines(folder / SAMPLES)}  # fmt: skip
    return Card(
        folder.resolve().name,
        run,
        tuple(by_step[step] for step in sorted(by_step)),
        tuple(read_lines(folder / STARTS)),
        tuple(read_lines(folder / SPIKES)),
        tuple(sampled.values()),
    )


def write_card(folder: Path) -> Path:
    """Write the page into the run's folder; returns where it lies.

    Raises:
        ConfigError: `folder` is no run's.
    """
    from training.card.page import render

    page = folder / PAGE
    partial = page.with_suffix(".partial")
    partial.write_text(render(read_card(folder)), encoding="utf-8")
    partial.replace(page)
    return page
