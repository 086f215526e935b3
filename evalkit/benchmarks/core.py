"""Core: our own small tasks of everyday code, stated once and rendered into every language.

Each folder beside this file, in `core/`, holds one `problem.json` (see `evalkit.neutral`) and
`solutions/<language>.txt`, the completion of the rendered prompt that is known to be right. They
are text files because a completion alone is no valid source. Written in November 2026, after the
data of the models of that time was collected; from easy (one line) to medium.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from evalkit.neutral import NeutralProblem
from evalkit.problem import Problem
from evalkit.rendering import render
from evalkit.runtimes import load_runtime, runtime_names
from tabwright.errors import InvalidRequest, UnknownLanguage


class Core:
    """The benchmark."""

    name = "core"
    left_out: Mapping[str, str] = MappingProxyType({})

    def __init__(self, path: Path | None = None) -> None:
        """Read the bundled problems, or those of a folder of the same form.

        Raises:
            InvalidRequest: the folder cannot be used.
        """
        folder = path or resources.files("evalkit.benchmarks") / "core"
        try:
            found = [
                (_problem(one / "problem.json"), _solutions(one))
                for one in folder.iterdir()
                if one.is_dir()
            ]
        except OSError as error:
            raise InvalidRequest(
                "path", str(folder), f"give a folder of problems: {error}"
            ) from None
        self._problems = sorted(found, key=lambda pair: pair[0].id)
        solved = {language for _, solutions in found for language in solutions}
        self.languages = tuple(sorted(solved & set(runtime_names())))

    def problems(self, language: str) -> Sequence[Problem]:
        """All problems that have a solution in this language."""
        if language not in self.languages:
            known = ", ".join(self.languages)
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has {known}")
        runtime = load_runtime(language)
        return [
            render(neutral, runtime, solutions[language])
            for neutral, solutions in self._problems
            if language in solutions
        ]


def _problem(file: Traversable) -> NeutralProblem:
    try:
        return NeutralProblem.of(json.loads(file.read_bytes()), str(file))
    except ValueError as error:
        raise InvalidRequest("path", str(file), f"give a problem: {error}") from None


def _solutions(folder: Traversable) -> dict[str, str]:
    return {
        file.name.removesuffix(".txt"): file.read_text(encoding="utf-8")
        for file in (folder / "solutions").iterdir()
    }
