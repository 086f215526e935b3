"""HumanEval-X: HumanEval by hand in other languages, from files of its form.

Zheng et al., "CodeGeeX" (arXiv 2303.17568): JSON lines with `task_id` (such as `Python/0`),
`prompt`, `declaration`, `canonical_solution` and `test`, one file a language. The path is one such
file, or a folder that holds them. Python rows have a `check`, and go to the oracle; the tests of
the other languages are programs that assert (`evalkit.canary_judge`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.benchmarks.humaneval import STOPS
from evalkit.benchmarks.rows import Row, given_path, read_rows, texts
from evalkit.problem import Problem
from evalkit.program_forms import fault_of, load_form
from evalkit.runtimes import load_runtime
from tabwright.errors import InvalidRequest, UnknownLanguage

_FIELDS = ("task_id", "prompt", "canonical_solution", "test")
_LANGUAGES = {
    "CPP": "cpp",
    "Go": "go",
    "Java": "java",
    "JavaScript": "javascript",
    "Python": "python",
    "Rust": "rust",
}
_ENTRY = re.compile(r"(\w+)(?:<[^>]*>)?\s*=?\s*\(")


class HumanEvalX:
    """The benchmark."""

    name = "humaneval-x"

    def __init__(self, path: Path | None = None) -> None:
        """Read `path`.

        Raises:
            InvalidRequest: there is none, or it holds no rows of this form.
        """
        path = given_path(path, "humaneval_cpp.jsonl.gz, or the folder that holds all of them")
        files = sorted(path.rglob("humaneval_*.jsonl*")) if path.is_dir() else [path]
        rows = [row for file in files for row in read_rows(file)]
        self._problems: dict[str, list[Problem]] = {}
        left_out: dict[str, str] = {}
        for row in rows:
            language = _language(row)
            if language is None:
                continue
            problem = _python(row) if language == "python" else _program(row, language)
            if reason := _fault(problem):
                left_out[problem.task_id] = reason
            else:
                self._problems.setdefault(language, []).append(problem)
        if not self._problems:
            raise InvalidRequest("path", str(path), "give a file with rows such as CPP/0")
        self.languages = tuple(sorted(self._problems))
        self.left_out: Mapping[str, str] = left_out

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems of one language that are judged."""
        if language not in self._problems:
            known = ", ".join(self.languages)
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has {known}")
        return self._problems[language]


def _language(row: Row) -> str | None:
    return _LANGUAGES.get(str(row.get("task_id")).partition("/")[0])


def _fault(problem: Problem) -> str:
    if problem.language == "python":
        return ""
    form = load_form(problem.language, problem.tests["program"])
    return fault_of(form, problem.task_id, problem.prompt, problem.tests["tests"])


def _python(row: Row) -> Problem:
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


def _program(row: Row, language: str) -> Problem:
    task_id, prompt, solution, test = texts(row, _FIELDS)
    (declaration,) = texts(row, ("declaration",))
    # Rust prompts are a comment only; what is declared has the signature.
    if "{" not in prompt:
        prompt += declaration
    # Of some tasks the helper is declared, and the solution brings the function itself.
    names = _called(declaration, test) or _called(solution, test)
    if not names:
        raise InvalidRequest("path", task_id, "its tests call nothing that is declared")
    row_of = load_runtime(language).prompt
    return Problem(
        task_id=task_id,
        language=language,
        prompt=prompt,
        stop=row_of.stop,
        reference=solution,
        entry_point=names[-1],
        tests={
            "program": "humaneval-x",
            "tests": test,
            "closing": row_of.closing,
            "whole": True,
        },
    )


def _called(source: str, test: str) -> list[str]:
    return [name for name in _ENTRY.findall(source) if re.search(rf"\b{name}\b", test)]
