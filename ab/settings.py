"""The settings of `tabwright ab`: TOML table [ab], variables TABWRIGHT_AB_*, or flags."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AbSettings(BaseModel):
    """Where flags and events are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field("ab.sqlite", description="a file, or redis://host:port/number")
