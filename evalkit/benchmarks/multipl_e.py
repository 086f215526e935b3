"""MultiPL-E: HumanEval and MBPP translated by a compiler, from files of its form; Python rows.

Cassano et al., "MultiPL-E" (arXiv 2208.08227): JSON lines or a list with `name` (or `task_id`),
`language`, `prompt`, `tests` (or `test`) and `stop_tokens`. There are no references. The tests of
the other languages are programs that assert, in the process of the candidate; no judge here
believes those, so their rows are left out by name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.benchmarks.humaneval import STOPS
from evalkit.benchmarks.rows import Row, given_path, read_rows, texts
from evalkit.problem import Problem
from tabwright.errors import InvalidRequest, UnknownLanguage

_NO_JUDGE = "its tests would run in the candidate's own process, which could pass them by itself"


class MultiPlE:
    """The benchmark."""

    name = "multipl-e"

    def __init__(self, path: Path | None = None) -> None:
        """Read `path`.

        Raises:
            InvalidRequest: there is none, or the file cannot be used.
        """
        rows = read_rows(given_path(path, "a prompts file such as humaneval-py-reworded.jsonl"))
        python = [row for row in rows if row.get("language") in ("py", "python")]
        self._problems = [_problem(row) for row in python]
        self.languages = ("python",) if python else ()
        self.left_out: Mapping[str, str] = {
            _task_id(row): _NO_JUDGE for row in rows if row not in python
        }

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems that are judged; there are Python ones only."""
        if language not in self.languages:
            raise UnknownLanguage(f"{self.name}: the file has no rows that can be judged")
        return self._problems


def _task_id(row: Row) -> str:
    return str(row.get("name", row.get("task_id")))


def _problem(row: Row) -> Problem:
    task_id = _task_id(row)
    test = row.get("tests", row.get("test"))
    (prompt,) = texts(row, ("prompt",))
    try:
        entry = [n.name for n in ast.parse(prompt).body if isinstance(n, ast.FunctionDef)][-1]
        body = ast.parse(test if isinstance(test, str) else "").body
    except (SyntaxError, IndexError) as error:
        raise InvalidRequest("path", task_id, f"the row is no Python function: {error}") from None
    calls = any(isinstance(node, ast.Expr) for node in body)
    if not any(isinstance(n, ast.FunctionDef) and n.name == "check" for n in body):
        raise InvalidRequest("path", task_id, "its tests define no check(candidate)")
    return Problem(
        task_id=task_id,
        language="python",
        prompt=prompt,
        stop=tuple(row.get("stop_tokens") or STOPS),
        entry_point=entry,
        tests={
            "setup": "",
            "check": test,
            # Its tests may end with a call of their own check; then nothing is left to run.
            "run": "pass" if calls else "check(candidate)",
        },
    )
