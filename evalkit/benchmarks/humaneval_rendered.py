"""HumanEval in other languages: the Python tests read as tables of values, rendered as `core` is.

A task is taken where every assert of its test compares a call with a value, and all arguments and
values have types that every language has. The others are left out by name with the reason. There
are no references in these languages. Read `neutral_task` first.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.benchmarks.humaneval import HumanEval
from evalkit.neutral import NeutralProblem
from evalkit.problem import Problem
from evalkit.rendering import render
from evalkit.runtimes import load_runtime, neutral_languages
from tabwright.errors import InvalidRequest, UnknownLanguage

_UNKNOWN = "?"
_DEPTH = 2


class CannotRender(Exception):
    """A task that has no table of plain values; the message is the reason."""


class _Call(NamedTuple):
    args: tuple[Any, ...]
    returns: Any


class HumanEvalRendered:
    """The benchmark."""

    name = "humaneval-rendered"

    def __init__(self, path: Path | None = None) -> None:
        """Read HumanEval's file as `HumanEval` does.

        Raises:
            MissingExtra: no path, and the package is not installed.
            InvalidRequest: the file cannot be used.
        """
        self._tasks: list[NeutralProblem] = []
        left_out: dict[str, str] = {}
        for problem in HumanEval(path).problems("python"):
            try:
                self._tasks.append(neutral_task(problem))
            except CannotRender as reason:
                left_out[problem.task_id] = str(reason)
        self.left_out: Mapping[str, str] = left_out
        self.languages = tuple(name for name in neutral_languages() if name != "python")

    def problems(self, language: str) -> Sequence[Problem]:
        """All tasks that could be read, in one language."""
        if language not in self.languages:
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}")
        runtime = load_runtime(language)
        return [render(task, runtime) for task in self._tasks]


def neutral_task(problem: Problem) -> NeutralProblem:
    """Read one Python task as typed values.

    Raises:
        CannotRender: its tests are no table of values that every language has.
    """
    function = _function(ast.parse(problem.prompt + "    pass\n"), problem.entry_point)
    names = [one.arg for one in function.args.args]
    text = inspect.cleandoc(ast.get_docstring(function) or "")
    if text.count('"') % 2 or any(mark in text for mark in ("/*", "*/", "(*", "*)")):
        raise CannotRender("its text cannot stand in a comment of every language")
    calls = _calls(_function(ast.parse(problem.tests["check"]), "check"))
    if any(len(call.args) != len(names) for call in calls):
        raise CannotRender("its tests leave arguments out")
    columns = zip(*(call.args for call in calls), strict=True)
    kinds = [_kind_of(column, name) for name, column in zip(names, columns, strict=True)]
    returns = _kind_of([call.returns for call in calls], "the result")
    fields = {
        "id": problem.task_id,
        "name": problem.entry_point.lower(),
        "text": text,
        "parameters": [[name.lower(), kind] for name, kind in zip(names, kinds, strict=True)],
        "returns": returns,
        "examples": [],
        "cases": [{"args": list(call.args), "returns": call.returns} for call in calls],
    }
    try:
        return NeutralProblem.of(fields, problem.task_id)
    except InvalidRequest as error:
        raise CannotRender(f"it cannot be stated: {error}") from None


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise CannotRender(f"it defines no {name}")


def _calls(check: ast.FunctionDef) -> list[_Call]:
    calls: list[_Call] = []
    for node in check.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if not isinstance(node, ast.Assert):
            raise CannotRender("its test is a program, not a list of asserts")
        if isinstance(node.test, ast.Constant) and node.test.value:
            continue  # an assert of True says nothing
        calls.append(_call(node.test))
    if not calls:
        raise CannotRender("its test asserts nothing")
    return calls


def _call(test: ast.expr) -> _Call:
    """Read `candidate(…) == value`, `candidate(…)` or `not candidate(…)`."""
    returns: ast.expr = ast.Constant(True)
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq | ast.Is):
        returns = test.comparators[0]
        test = test.left
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, returns = test.operand, ast.Constant(False)
    if not isinstance(test, ast.Call) or ast.unparse(test.func) != "candidate" or test.keywords:
        raise CannotRender("an assert compares something else than one call with one value")
    try:
        args = tuple(ast.literal_eval(argument) for argument in test.args)
        return _Call(args, ast.literal_eval(returns))
    except ValueError:
        raise CannotRender("an assert computes its arguments or its value") from None


def _kind_of(values: Sequence[Any] | tuple[Any, ...], what: str) -> str:
    kinds = {_kind(value) for value in values}
    if kinds == {"int", "float"}:
        # Python's tests look at which of the two a number is; other languages would not see it.
        raise CannotRender(f"{what} is sometimes int and sometimes float")
    kind = reduce(_both, sorted(kinds))
    if _UNKNOWN in kind:
        raise CannotRender(f"nothing says what the lists of {what} hold")
    if kind.count("list[") > _DEPTH:
        raise CannotRender(f"the lists of {what} nest more than twice")
    return kind


def _kind(value: object) -> str:
    if type(value) is list:
        return f"list[{reduce(_both, map(_kind, value), _UNKNOWN)}]"
    if type(value) in (int, float, str, bool):
        return type(value).__name__
    raise CannotRender(f"a value is a {type(value).__name__}")


def _both(one: str, other: str) -> str:
    """The type that has the values of both."""
    if one == other or other == _UNKNOWN:
        return one
    if one == _UNKNOWN:
        return other
    if {one, other} == {"int", "float"}:
        return "float"
    if one.startswith("list[") and other.startswith("list["):
        return f"list[{_both(one[5:-1], other[5:-1])}]"
    raise CannotRender(f"a value is sometimes {one} and sometimes {other}")
