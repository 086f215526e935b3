"""What a candidate has to show, as `gates.toml` says it. Read `load_gates` first.

Decides nothing: `ab.judgement` does.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ab.acceptance import Weighting
from ab.report import METRICS
from tabwright.errors import ConfigError

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ladder(_Table):
    """How a candidate gets to everybody."""

    rungs: tuple[float, ...]
    internal: tuple[str, ...]
    proof_from: float
    days: Count
    proof_days: Count
    guard_days: Count
    requests: Count
    users: Annotated[int, Field(ge=2)]
    before: Count

    @field_validator("rungs")
    @classmethod
    def _climbs(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        steps = (0.0, *rungs)
        if steps[-1] != 100 or any(b <= a for a, b in itertools.pairwise(steps)):
            raise ValueError("give rising percentages, of which the last is 100")
        return rungs


class Offline(_Table):
    """pass@k, paired by task."""

    needed: bool
    k: Annotated[int, Field(ge=1)]
    tasks: Annotated[int, Field(ge=1)]
    margin: Share


class Metric(_Table):
    """A metric of the report; margin relative to the control, 0 for better."""

    margin: Share
    optional: bool


class Guardrail(_Table):
    """margin: what statistics may not show to be exceeded. limit: what nothing may exceed."""

    margin: Annotated[float, Field(ge=0)]
    limit: Annotated[float, Field(gt=0)]


class Split(_Table):
    """p: below it the split is not believed."""

    p: Annotated[float, Field(gt=0, lt=1)]


class Gates(_Table):
    """All of `gates.toml`."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    weighting: Weighting
    ladder: Ladder
    offline: Offline
    metrics: Mapping[str, Metric]
    latency: Guardrail
    errors: Guardrail
    split: Split

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: Mapping[str, Metric]) -> Mapping[str, Metric]:
        for name in metrics:
            if name not in METRICS:
                raise ValueError(f"{name!r} is no metric; known: {', '.join(METRICS)}")
            if METRICS[name].less_is_better:
                raise ValueError(f"{name!r} is better when less; a gate needs one that grows")
        return metrics


def load_gates(path: Path | None = None) -> Gates:
    """Read the gates of `path`, what it leaves out from those that come along.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown, or a value is wrong.
    """
    text = resources.files("ab").joinpath("gates.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    if path is not None:
        try:
            own = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--gates: {path}: {error}") from None
        if "metrics" in own:
            tables.pop("metrics")
        tables = _merged(tables, own)
    try:
        return Gates.model_validate(tables)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {place}: {first['msg']} (got {first['input']!r})") from None


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with what `over` says, table by table."""
    found = dict(under)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = _merged(found[name], value) if both else value
    return found
