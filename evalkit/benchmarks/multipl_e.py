"""MultiPL-E: HumanEval and MBPP translated by a compiler, from files of its form.

Cassano et al., "MultiPL-E" (arXiv 2208.08227): JSON lines or a list with `name` (or `task_id`),
`language`, `prompt`, `tests` (or `test`) and `stop_tokens`. There are no references. Python rows
have a `check`, and go to the oracle; the tests of the other languages are programs that assert
(`evalkit.canary_judge`). Rows of languages without such programs here are left out by name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.alterations import alterations
from evalkit.benchmarks.humaneval import STOPS
from evalkit.benchmarks.rows import Row, given_path, read_rows, texts
from evalkit.problem import Problem
from evalkit.program_forms import fault_of, load_form
from evalkit.runtimes import load_runtime
from tabwright.errors import InvalidRequest, UnknownLanguage

_LANGUAGES = {
    "adb": "ada",
    "clj": "clojure",
    "cpp": "cpp",
    "cs": "csharp",
    "d": "d",
    "elixir": "elixir",
    "ex": "elixir",
    "go": "go",
    "go_test.go": "go",
    "hs": "haskell",
    "java": "java",
    "js": "javascript",
    "lua": "lua",
    "ml": "ocaml",
    "php": "php",
    "pl": "perl",
    "py": "python",
    "python": "python",
    "r": "r",
    "racket": "racket",
    "rb": "ruby",
    "rkt": "racket",
    "rs": "rust",
    "ruby": "ruby",
    "scala": "scala",
    "sh": "shell",
    "ts": "typescript",
}
_NO_JUDGE = "its language has no runtime here"
_NO_VALUE = "no expected value could be made out in its tests, to make it wrong"


class MultiPlE:
    """The benchmark."""

    name = "multipl-e"

    def __init__(self, path: Path | None = None) -> None:
        """Read `path`.

        Raises:
            InvalidRequest: there is none, or the file cannot be used.
        """
        path = given_path(path, "a prompts file such as humaneval-lua-reworded.jsonl")
        files = sorted(path.glob("*.json*")) if path.is_dir() else [path]
        self._problems: dict[str, dict[str, Problem]] = {}
        left_out: dict[str, str] = {}
        for row in (row for file in files for row in read_rows(file)):
            language = _LANGUAGES.get(str(row.get("language")))
            if language is None:
                left_out[_task_id(row)] = _NO_JUDGE
                continue
            problem = _python(row) if language == "python" else _program(row, language)
            if reason := _fault(problem):
                left_out[f"{language}: {problem.task_id}"] = reason
            else:
                self._problems.setdefault(language, {})[problem.task_id] = problem
        self.languages = tuple(sorted(self._problems))
        self.left_out: Mapping[str, str] = left_out

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems of one language that are judged."""
        if language not in self._problems:
            known = ", ".join(self.languages) or "none"
            raise UnknownLanguage(
                f"{self.name}: the file has no rows in {language!r} that can be judged; it has "
                f"{known}"
            )
        return list(self._problems[language].values())


def _task_id(row: Row) -> str:
    return str(row.get("name", row.get("task_id")))


def _fault(problem: Problem) -> str:
    if problem.language == "python":
        return ""
    form = load_form(problem.language, problem.tests["program"])
    tests = problem.tests["tests"]
    if reason := fault_of(form, problem.task_id, problem.prompt, tests):
        return reason
    made = alterations(tests, form, problem.task_id, problem.entry_point, problem.prompt)
    return "" if made else _NO_VALUE


def _python(row: Row) -> Problem:
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


def _program(row: Row, language: str) -> Problem:
    task_id = _task_id(row)
    (prompt,) = texts(row, ("prompt",))
    tests = row.get("tests", row.get("test"))
    if not isinstance(tests, str):
        raise InvalidRequest("path", task_id, "the row lacks tests")
    runtime = load_runtime(language)
    given = tuple(row.get("stop_tokens") or ())
    # Tests that begin in the function close it; else a sample whose own end was a stop needs it.
    closed = tests.lstrip().startswith(("}", "end")) or given
    return Problem(
        task_id=task_id,
        language=language,
        prompt=prompt,
        stop=given or runtime.prompt.stop,
        entry_point=task_id.split("_", 2)[-1],
        tests={
            "program": "multipl-e",
            "tests": tests,
            "closing": "" if closed else runtime.prompt.closing,
        },
    )
