"""The settings of `tabwright ab`: TOML table [ab], variables TABWRIGHT_AB_*, or flags."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class AbSettings(BaseModel):
    """Where flags and events are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: Path | None = Field(
        None, description="folder of archived events, which `purge` goes through, too"
    )
    store: str = Field("ab.sqlite", description="a file, or redis://host:port/number")
