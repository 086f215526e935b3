"""Files and functions stay small, and are named by what they are about."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.sources import PACKAGES, ROOT, python_files, tracked

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500
BANNED_STEMS = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base2"}

# The one licensed exception: a training loop that reads from top to bottom.
LONG_FUNCTIONS: dict[str, str] = {}

FILES = pytest.mark.parametrize("path", python_files(), ids=str)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length of every function in a file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@FILES
def test_no_file_is_longer_than_the_budget(path: Path) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE_LINES, f"{path}: {lines} lines"


@FILES
def test_no_function_is_longer_than_the_budget(path: Path) -> None:
    long = {
        name: lines
        for name, lines in functions(path)
        if lines > MAX_FUNCTION_LINES and f"{path}:{name}" not in LONG_FUNCTIONS
    }
    assert not long, f"{path}: {long}"


def test_every_licensed_long_function_is_still_there_and_still_long() -> None:
    for place in LONG_FUNCTIONS:
        file, name = place.split(":")
        assert any(n == name and lines > MAX_FUNCTION_LINES for n, lines in functions(Path(file)))


def test_no_file_has_a_name_that_says_nothing() -> None:
    named = [str(path) for path in tracked() if path.stem.lower() in BANNED_STEMS]
    assert not named


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_docstring(package: str) -> None:
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)


def test_init_files_hold_no_code_besides_family_tables() -> None:
    for path in python_files():
        if path.name != "__init__.py" or path.parts[0] not in PACKAGES:
            continue
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        allowed = (ast.Expr, ast.Assign, ast.AnnAssign, ast.ImportFrom)
        assert all(isinstance(node, allowed) for node in tree.body), path
        reexports = [
            n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module != "__future__"
        ]
        assert all((n.module or "").split(".")[0] not in PACKAGES for n in reexports), path
