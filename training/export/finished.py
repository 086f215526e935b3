"""An export as it is before it is published: what every check is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.export.repository import Runtime, Serving
from training.export.source import Source


@dataclass(frozen=True, slots=True)
class Finished:
    """All files but the manifest stand in `folder`.

    reader: the Python with the transformers of NVIDIA's container, None to leave it out.
    """

    source: Source
    folder: Path
    runtime: Runtime
    serving: Serving
    reader: Path | None = None

    @property
    def checkpoint(self) -> Path:
        """What transformers and the LLM load."""
        return self.folder / "checkpoint"

    @property
    def model(self) -> Path:
        """What Triton loads."""
        return self.folder / "model_repository" / self.source.name
