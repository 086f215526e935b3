"""HumanEval-X: HumanEval by hand in other languages, from files of its form; the Python rows.

Zheng et al., "CodeGeeX" (arXiv 2303.17568): JSON lines with `task_id` (such as `Python/0`),
`prompt`, `declaration`, `canonical_solution` and `test`, one file a language. The path is one such
file, or a folder that holds them. The tests of the other languages are programs that assert, in the
process of the candidate; no judge here believes those, so their rows are left out by name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.benchmarks.humaneval import STOPS
from evalkit.benchmarks.rows import Row, given_path, read_rows, texts
from evalkit.problem import Problem
from tabwright.errors import InvalidRequest, UnknownLanguage

_FIELDS = ("task_id", "prompt", "canonical_solution", "test")
_NO_JUDGE = "its tests would run in the candidate's own process, which could pass them by itself"


class HumanEvalX:
    """The benchmark."""

    name = "humaneval-x"
    languages = ("python",)

    def __init__(self, path: Path | None = None) -> None:
        """Read `path`.

        Raises:
            InvalidRequest: there is none, or it holds no Python rows of this form.
        """
        path = given_path(path, "humaneval_python.jsonl.gz, or the folder that holds it")
        files = sorted(path.rglob("humaneval_*.jsonl*")) if path.is_dir() else [path]
        rows = [row for file in files for row in read_rows(file)]
        python = [row for row in rows if _is_python(row)]
        if not python:
            raise InvalidRequest("path", str(path), "give a file with rows such as Python/0")
        self._problems = [_problem(row) for row in python]
        self.left_out: Mapping[str, str] = {
            str(row.get("task_id")): _NO_JUDGE for row in rows if not _is_python(row)
        }

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems that are judged; there are Python ones only."""
        if language != "python":
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has python")
        return self._problems


def _is_python(row: Row) -> bool:
    return str(row.get("task_id")).startswith("Python/")


def _problem(row: Row) -> Problem:
    task_id, prompt, solution, test = texts(row, _FIELDS)
    try:
        functions = [n for n in ast.parse(prompt + solution).body if isinstance(n, ast.FunctionDef)]
        before = len(prompt.splitlines())
        entry = [one.name for one in functions if one.lineno <= before][-1]
        # Its tests end with a call of their own check; then nothing is left to run.
        calls = any(isinstance(node, ast.Expr) for node in ast.parse(test).body)
    except (SyntaxError, IndexError) as error:
        raise InvalidRequest("path", task_id, f"the row is no Python function: {error}") from None
    return Problem(
        task_id=task_id,
        language="python",
        prompt=prompt,
        stop=STOPS,
        reference=solution,
        entry_point=entry,
        tests={"check": test, "run": "pass" if calls else "check(candidate)"},
    )
