"""Finds a benchmark by its name: ours, or one that an installed package brings.

A package brings one by an entry point of the group `evalkit.benchmarks`, whose target is called
with the path that the user gave (or None) and returns a `Benchmark`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from evalkit.benchmarks import BENCHMARKS
from evalkit.problem import Benchmark
from tabwright.errors import InvalidRequest

_GROUP = "evalkit.benchmarks"


def benchmark_names() -> dict[str, str]:
    """Every known name, and the module that serves it."""
    others = {found.name: found.value for found in entry_points(group=_GROUP)}
    return BENCHMARKS | others


def load_benchmark(name: str, path: Path | None = None) -> Benchmark:
    """Load one benchmark; `path` is its file or folder, for those that are not bundled.

    Raises:
        InvalidRequest: no such name, or its files cannot be used.
    """
    known = benchmark_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
        raise InvalidRequest("benchmark", name, hint)
    module, _, attribute = known[name].partition(":")
    make: Callable[[Path | None], Benchmark] = getattr(importlib.import_module(module), attribute)
    return make(path)
