"""Parts that the tests of training share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower with several, and much slower where others compute."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        if importlib.util.find_spec("torch"):
            import torch

            torch.set_num_threads(1)
        yield
