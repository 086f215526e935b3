"""What a local Triton serves: an artifact exported for `local_llm`, made once for each version.

The export needs torch, so it runs as a process of its own and the gateway stays without. A folder
is named after the artifact and everything that the export copies; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from server.child import child_environment
from server.tritonserver.alone import alone
from server.tritonserver.environment import NoTriton
from tabwright.artifact import ModelArtifact

_ROOT = Path(__file__).parents[2]
_SOURCES = ("model_repository", "training/export")
_EXPORT_S = 600


def ensure_export(artifact: ModelArtifact, folder: Path) -> Path:
    """Export `artifact` into `folder` unless it is there; return the export.

    Raises:
        ConfigError: the folder cannot be written.
        NoTriton: the export failed; its own message says why.
    """
    out = folder / f"{artifact.name}-{_key(artifact)}"
    if not (out / "manifest.json").is_file():
        with alone(folder / ".lock"):
            if not (out / "manifest.json").is_file():  # another process may have been faster
                _export(artifact, out)
    return out


def _export(artifact: ModelArtifact, out: Path) -> None:
    command = [
        *(sys.executable, "-m", "tabwright", "export", "--to", "local_llm", "--no-validate"),
        *("--artifact", str(artifact.path), "--out", str(out)),
    ]
    done = subprocess.run(
        command, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_EXPORT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NoTriton(f"the export for Triton failed: {told[-1]}")


def _key(artifact: ModelArtifact) -> str:
    found = hashlib.sha256(artifact.digest.encode())
    for name in _SOURCES:
        for file in sorted((_ROOT / name).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(file.read_bytes())
    return found.hexdigest()[:12]
