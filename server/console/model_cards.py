"""The loaded models: where each comes from, how it was judged, and how many users have it.

Lineage and checks are the artifact's own manifest, pass@k is evalkit's report, the share of users
is what the flag `model` says now. Read `ModelCards.list` first.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import anyio.to_thread

from ab.flags import WHOLE, Flag
from ab.store import Version
from server.event_stream import JsonResponse
from server.flag_watch import FlagWatch
from server.gateway import Call
from server.model_choice import MODEL, ModelChoice, ServedModel


class ModelCards:
    """Tells about the loaded models."""

    def __init__(self, models: ModelChoice, flags: FlagWatch, evals: Mapping[str, Path]) -> None:
        """Tell about `models`; evals: folders of evalkit's runs, by model."""
        self._models = models
        self._flags = flags
        self._evals = evals
        gates = resources.files("ab").joinpath("gates.toml").read_text(encoding="utf-8")
        self._rungs = tomllib.loads(gates)["ladder"]["rungs"]

    async def list(self, call: Call) -> JsonResponse:
        """Tell about each, the default first."""
        del call
        reports = await anyio.to_thread.run_sync(self._reports)
        version = self._flags.versions.get(MODEL)
        cards = [
            _card(model)
            | {
                "default": model is self._models.default,
                "report": reports.get(name),
                "users": _users(version, name, default=model is self._models.default),
            }
            for name, model in self._models.models.items()
        ]
        return JsonResponse({"models": cards, "rungs": self._rungs})

    def _reports(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: _report(folder) for name, folder in self._evals.items()}


def _card(model: ServedModel) -> dict[str, Any]:
    artifact, stats = model.engine.artifact, model.engine.stats()
    return {
        "name": model.name,
        "artifact": artifact.name,
        "digest": artifact.digest,
        "context": model.engine.max_context,
        "vocabulary": artifact.vocab_size,
        "fim": f"{artifact.fim.family.name}, {artifact.fim.order}",
        "lineage": artifact.lineage,
        "validation": artifact.validation,
        "generated_tokens": stats.generated_tokens,
        "cancelled": stats.cancelled,
    }


def _report(folder: Path) -> Mapping[str, Any]:
    """What a run of evalkit found, without its tasks; what is wrong with it, in place of that."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        rows = {
            language: {
                "tasks": row["tasks"],
                "samples": row["samples"],
                "pass_at_k": {
                    k: {name: found[name] for name in ("value", "low", "high")}
                    for k, found in row["pass_at_k"].items()
                },
            }
            for language, row in report["languages"].items()
        }
        return {"benchmark": str(report["benchmark"]), "languages": rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {"fault": f"evals: {folder.name}/report.json is no report of evalkit: {error!r}"}


def _users(version: Version | None, model: str, *, default: bool) -> Mapping[str, Any]:
    """How many have the model by chance, in percent, and how many by hand."""
    if version is None:
        return {"flag": False, "percent": 100.0 if default else 0.0, "overrides": 0}
    flag = version.flag
    mine = {name for name, value in flag.variants.items() if value == model}
    by_hand = sum(variant in mine for variant in flag.overrides.values()) if flag.enabled else 0
    return {
        "flag": True,
        "enabled": flag.enabled,
        "targeted": flag.targeting is not None or flag.slot is not None,
        "percent": sum(_share(flag, variant) for variant in mine) / WHOLE * 100,
        "overrides": by_hand,
    }


def _share(flag: Flag, variant: str) -> float:
    """Of all users, in thousandths of a percent, who have a variant by chance or by default."""
    rollout = flag.rollout if flag.enabled else None
    by_default = WHOLE - (rollout.share if rollout else 0)
    found = float(by_default) if variant == flag.default_variant else 0.0
    if rollout:
        weights = {arm.variant: arm.weight for arm in rollout.arms}
        found += rollout.share * weights.get(variant, 0) / sum(weights.values())
    return found
