"""Parts that the tests of training share."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models this small are slower with several, and much slower where others compute."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
