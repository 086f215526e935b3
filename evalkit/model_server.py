"""Serves a model folder for the length of a run: `tabwright serve` on a free port."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tabwright.artifact import MANIFEST, folder_digest
from tabwright.errors import EngineUnavailable


@contextmanager
def serving(artifact: Path) -> Iterator[str]:
    """Start a server of its own and yield its address.

    Raises:
        EngineUnavailable: it did not start; what it said stands on stderr.
    """
    # A line for each request would bury the progress bar.
    words = ["serve", "--port", "0", "--model", str(artifact), "--log-level", "warning"]
    command = [sys.executable, "-m", "tabwright", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = next(
            (match[1] for line in process.stdout if (match := _ADDRESS.search(line.strip()))), None
        )
        if found is None:
            raise EngineUnavailable(f"no server could be started for {artifact}")
        yield found
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def model_digest(artifact: Path) -> str:
    """The digest of a model folder, which a server has checked."""
    return folder_digest(json.loads((artifact / MANIFEST).read_bytes())["files"])


_ADDRESS = re.compile(r"(http://\S+)$")
