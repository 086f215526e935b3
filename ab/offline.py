"""What two runs of evalkit say of two models: pass@k, paired by task.

Of evalkit only its statistics are used, which read no code and start nothing. Read `read_evals`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from evalkit.estimate import by_task
from evalkit.statistics import Comparison, compare
from tabwright.errors import ConfigError

_REPORT = "report.json"


class Evals(BaseModel):
    """pass@k by language and task. digests: SHA-256 of the reports of control and candidate."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    k: int
    digests: tuple[str, str]
    control: Mapping[str, Mapping[str, float]]
    candidate: Mapping[str, Mapping[str, float]]

    def compared(self) -> Comparison:
        """The candidate against the control, on the tasks of all languages that both have."""
        return compare(_flat(self.control), _flat(self.candidate))


def read_evals(control: Path, candidate: Path, k: int) -> Evals:
    """Read two reports, of files or of folders of runs.

    Raises:
        ConfigError: one is none, or they are of two benchmarks, or have no task in common.
    """
    texts = [_bytes(path) for path in (control, candidate)]
    reports = [_report(p, text) for p, text in zip((control, candidate), texts, strict=True)]
    names = [str(report["benchmark"]) for report in reports]
    if names[0] != names[1]:
        raise ConfigError(f"--evals: one run is of {names[0]}, the other of {names[1]}")
    tasks = [
        {name: by_task(row["by_task"], k) for name, row in sorted(report["languages"].items())}
        for report in reports
    ]
    if not _flat(tasks[0]).keys() & _flat(tasks[1]).keys():
        raise ConfigError(f"--evals: the runs have no task in common with {k} judged samples")
    one, other = (hashlib.sha256(text).hexdigest() for text in texts)
    return Evals(
        benchmark=names[0], k=k, digests=(one, other), control=tasks[0], candidate=tasks[1]
    )


def _flat(tasks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{lang}/{task}": v for lang, values in tasks.items() for task, v in values.items()}


def _bytes(path: Path) -> bytes:
    try:
        return (path / _REPORT if path.is_dir() else path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--evals: {path}: {error.strerror}; give finished runs") from None


def _report(path: Path, text: bytes) -> dict[str, Any]:
    try:
        report = json.loads(text)
        right = all(isinstance(row["by_task"], dict) for row in report["languages"].values())
        right = right and isinstance(report["benchmark"], str)
    except (ValueError, KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise ConfigError(f"--evals: {path}: this is no report of evalkit")
    return dict(report)
