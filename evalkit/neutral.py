"""A problem that belongs to no language: typed signature, text, and cases of plain values.

The file is `problem.json`; see docs/extending/benchmark.md. Read `NeutralProblem.read` first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabwright.errors import InvalidRequest

SCALARS = ("int", "float", "str", "bool")
_TYPE = re.compile(r"(list\[){0,2}(int|float|str|bool)(\]){0,2}")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Case:
    """One call and what it returns."""

    args: tuple[Any, ...]
    returns: Any


@dataclass(frozen=True, slots=True)
class NeutralProblem:
    """One problem. examples: the numbers of the cases that the prompt shows."""

    id: str
    name: str
    text: str = field(repr=False)
    parameters: tuple[tuple[str, str], ...]
    returns: str
    cases: tuple[Case, ...] = field(repr=False)
    examples: tuple[int, ...] = ()

    @classmethod
    def read(cls, path: Path) -> NeutralProblem:
        """Read and check one file.

        Raises:
            InvalidRequest: it cannot be used; the message names the file and the field.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidRequest("path", str(path), f"give a readable problem: {error}") from None
        return cls.of(fields, str(path))

    @classmethod
    def of(cls, fields: Mapping[str, Any], where: str = "problem") -> NeutralProblem:
        """Make one from the fields of its file.

        Raises:
            InvalidRequest: a field is missing or has a value that cannot be used.
        """
        try:
            problem = cls(
                id=str(fields["id"]),
                name=str(fields["name"]),
                text=str(fields["text"]),
                parameters=tuple((str(name), str(kind)) for name, kind in fields["parameters"]),
                returns=str(fields["returns"]),
                cases=tuple(Case(tuple(row["args"]), row["returns"]) for row in fields["cases"]),
                examples=tuple(int(number) for number in fields["examples"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidRequest(where, repr(error), "give every field of a problem") from None
        _check(problem, where)
        return problem

    def fields(self) -> dict[str, Any]:
        """The same as JSON; `of` undoes it."""
        return {
            "id": self.id,
            "name": self.name,
            "text": self.text,
            "parameters": [list(pair) for pair in self.parameters],
            "returns": self.returns,
            "examples": list(self.examples),
            "cases": [{"args": list(case.args), "returns": case.returns} for case in self.cases],
        }


def element_of(kind: str) -> str:
    """The type of a list's elements."""
    return kind.removeprefix("list[").removesuffix("]")


def is_list(kind: str) -> bool:
    """Whether a type is that of a list."""
    return kind.startswith("list[")


def fits(value: object, kind: str) -> bool:
    """Whether a value is exactly of a type; a float may be written as a whole number."""
    if is_list(kind):
        return isinstance(value, list) and all(fits(part, element_of(kind)) for part in value)
    if kind == "int":
        return type(value) is int and abs(value) <= _LARGEST
    if kind == "float":
        return type(value) is int or (isinstance(value, float) and math.isfinite(value))
    return type(value) is (bool if kind == "bool" else str)


def exact(value: Any, kind: str) -> Any:
    """Make whole numbers real where the type is float."""
    if is_list(kind):
        return [exact(part, element_of(kind)) for part in value]
    return float(value) if kind == "float" else value


def _check(problem: NeutralProblem, where: str) -> None:
    kinds = [kind for _, kind in problem.parameters]
    for kind in (*kinds, problem.returns):
        if not _TYPE.fullmatch(kind) or kind.count("[") != kind.count("]"):
            raise InvalidRequest(f"{where}: type", kind, "int, float, str, bool or list[…], twice")
    for name in (problem.name, *(name for name, _ in problem.parameters)):
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{where}: name", name, "write it in snake_case")
    for number, case in enumerate(problem.cases):
        if len(case.args) != len(kinds) or not all(map(fits, case.args, kinds)):
            raise InvalidRequest(f"{where}: cases[{number}].args", case.args, f"they are {kinds}")
        if not fits(case.returns, problem.returns):
            fix = f"it is {problem.returns}"
            raise InvalidRequest(f"{where}: cases[{number}].returns", case.returns, fix)
    if not problem.cases:
        raise InvalidRequest(f"{where}: cases", [], "give at least one")
    if not all(0 <= number < len(problem.cases) for number in problem.examples):
        raise InvalidRequest(f"{where}: examples", problem.examples, "give numbers of cases")


def spelled(name: str, case: str, reserved: Sequence[str] = ()) -> str:
    """Spell a snake_case name as a language does; a reserved one gets an underscore."""
    parts = name.split("_")
    capital = [part[:1].upper() + part[1:] for part in parts]
    made = {
        "snake": name,
        "camel": "".join([parts[0], *capital[1:]]),
        "pascal": "".join(capital),
        "kebab": "-".join(parts),
        "ada": "_".join(capital),
    }[case]
    if made not in reserved:
        return made
    return f"{made}_Value" if case == "ada" else f"{made}_"
