"""The settings of `tabwright ab`: TOML table [ab], variables TABWRIGHT_AB_*, or flags."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tabwright.settings import load_settings


class AbSettings(BaseModel):
    """Where flags and events are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: Path | None = Field(
        None, description="folder of archived events, which `purge` goes through, too"
    )
    spool: Path | None = Field(
        None, description="a gateway's `spool_dir` on this machine, which `purge` empties first"
    )
    store: str = Field("ab.sqlite", description="a file, or redis://host:port/number")


def settings_of(args: argparse.Namespace) -> AbSettings:
    """The settings of a command with the options `--store` and `--config`.

    Raises:
        ConfigError: the file or a value is wrong.
    """
    given = {"store": args.store} if args.store else {}
    return load_settings(AbSettings, "ab", given, os.environ, args.config)
