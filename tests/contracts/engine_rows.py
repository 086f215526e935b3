"""The rows of the engine table as test parameters, and how each engine is started for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.engines.registry import ENGINES

NEEDS = {"cpu": "cpu"}  # engines that need a service of `tests/conftest.py`
ROWS = [
    pytest.param(name, marks=pytest.mark.needs(NEEDS[name]) if name in NEEDS else ())
    for name in sorted(ENGINES)
]


def engine_options(folder: Path) -> dict[str, dict[str, object]]:
    """Options of every engine; `folder` is for what it may write."""
    return {
        "scripted": {"answer": "def add(first, second): return\n" * 60, "token_delay_s": 0.0005},
        "cpu": {"cache_dir": folder, "precision": "f32", "threads": 1},
    }
