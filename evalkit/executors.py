"""Where judges work, by name: in this process, or in the workers of a Ray cluster.

Whatever opens, it is a `Judge`, so the main path does not know which. Read `judging` first.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractAsyncContextManager

from evalkit.problem import Judge

EXECUTORS = {
    "local": "evalkit.session:judging_in",
    "ray": "evalkit.ray_workers:judging_on_ray",
}


def judging(executor: str, sandbox: str, places: int) -> AbstractAsyncContextManager[Judge]:
    """Open a judge that is asked for at most `places` verdicts at a time.

    Raises:
        SandboxUnavailable: programs cannot be isolated so where they would run.
        MissingExtra: the executor's library is not installed.
        InvalidRequest: there are fewer processors than places.
    """
    module, _, attribute = EXECUTORS[executor].partition(":")
    opening = getattr(importlib.import_module(module), attribute)
    judge: AbstractAsyncContextManager[Judge] = opening(sandbox, places)
    return judge
