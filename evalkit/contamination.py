"""Which tasks a model has met in training, as the list says that travels with it.

    {"hits": [{"benchmark": "core", "task_id": "core/07", "kind": "prompt", "evidence": ["a1b2…"]}]}

kind: what of the task was found: its prompt, its solution, or either nearly. evidence: ids of the
training ledger's documents. Nothing here looks for contamination. Read `Contamination.read` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tabwright.errors import InvalidRequest

FILE = "contamination.json"


class Hit(BaseModel):
    """One task that was met, once for each kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    task_id: str
    kind: str
    evidence: tuple[str, ...] = ()


class _Hits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Contamination:
    """The hits of one benchmark by task."""

    by_task: Mapping[str, Sequence[Hit]]

    @classmethod
    def read(cls, path: Path, benchmark: str) -> Contamination:
        """Read a list and keep what is of this benchmark.

        Raises:
            InvalidRequest: it is none; the message names the place.
        """
        try:
            found = _Hits.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InvalidRequest("contamination", str(path), f"give a file: {error}") from None
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "the file"
            raise InvalidRequest("contamination", str(path), f"{place}: {fault['msg']}") from None
        by_task: dict[str, list[Hit]] = {}
        for hit in found.hits:
            if hit.benchmark == benchmark:
                by_task.setdefault(hit.task_id, []).append(hit)
        return cls(by_task)

    def rows(self, task_ids: Sequence[str]) -> dict[str, Any]:
        """The hits of these tasks, as a report has them."""
        return {
            task_id: [
                {"kind": hit.kind, "evidence": list(hit.evidence)} for hit in self.by_task[task_id]
            ]
            for task_id in task_ids
            if task_id in self.by_task
        }
