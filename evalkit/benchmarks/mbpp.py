"""MBPP: short Python tasks with three asserts each, from a file of its form.

Austin et al., "Program Synthesis with Large Language Models" (arXiv 2108.07732): JSON lines with
`task_id`, `text` or `prompt`, `code`, `test_list`, and `test_setup_code` or `test_imports`. The
prompt is a docstring of the text and the asserts, which say how the function is called; a sample is
the whole function. Tasks whose asserts need a class of the solution are left out: only plain values
pass between the candidate and its tests.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.benchmarks.rows import Row, given_path, read_rows, texts
from evalkit.problem import Problem
from tabwright.errors import InvalidRequest, UnknownLanguage

# The sample begins with `def`, so that cannot end it.
STOPS = ("\nclass ", "\nassert ", '\n"""', "\nprint(", "\nif ", "\n#", "\n```")

# The asserts are kept as they are written; each sees the candidate under the function's name.
_CHECK = """\
ASSERTS = {asserts!r}

def check(candidate):
    for one in ASSERTS:
        exec(one, globals())
"""


class Mbpp:
    """The benchmark."""

    name = "mbpp"
    languages = ("python",)

    def __init__(self, path: Path | None = None) -> None:
        """Read `path`.

        Raises:
            InvalidRequest: there is none, or the file cannot be used.
        """
        self._problems: list[Problem] = []
        left_out: dict[str, str] = {}
        for row in read_rows(given_path(path, "mbpp.jsonl, or sanitized-mbpp.json")):
            problem = _problem(row)
            own = _own_names(problem, row["test_list"])
            if own:
                left_out[problem.task_id] = f"its asserts use {', '.join(own)} of the solution"
            else:
                self._problems.append(problem)
        self.left_out: Mapping[str, str] = left_out

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems; there are Python ones only."""
        if language != "python":
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has python")
        return self._problems


def _problem(row: Row) -> Problem:
    task_id = f"MBPP/{row.get('task_id')}"
    (code,) = texts(row, ("code",))
    text = row.get("text", row.get("prompt"))
    asserts = row.get("test_list")
    if not isinstance(text, str) or not isinstance(asserts, list) or not asserts:
        raise InvalidRequest("path", task_id, "the row lacks text and test_list")
    setup = [*row.get("test_imports", ()), row.get("test_setup_code", "")]
    lines = [text.strip(), *(one.strip() for one in asserts)]
    return Problem(
        task_id=task_id,
        language="python",
        prompt='"""\n' + "\n".join(lines) + '\n"""\n',
        stop=STOPS,
        reference=code.replace("\r\n", "\n"),
        entry_point=_called(task_id, code, asserts),
        tests={"setup": "\n".join(setup), "check": _CHECK.format(asserts=asserts)},
    )


def _called(task_id: str, code: str, asserts: Sequence[str]) -> str:
    """The function of the solution that the asserts call."""
    defined = _defined(code)
    for name in _names("\n".join(asserts)):
        if name in defined:
            return name
    raise InvalidRequest("path", task_id, "the asserts call no function of the solution")


def _own_names(problem: Problem, asserts: Sequence[str]) -> list[str]:
    """What else of the solution the asserts and their setup use without making it themselves."""
    setup = problem.tests["setup"]
    used = _names("\n".join([setup, *asserts]))
    own = _defined(problem.reference or "") - _defined(setup) - {problem.entry_point}
    return sorted(own & set(used))


def _names(source: str) -> list[str]:
    """The names a source uses, in its order."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return [node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]


def _defined(source: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(source).body if isinstance(node, kinds)}
