"""Programs of known outcome in every language, from `sandboxes/<language>/probes/`.

All complete one problem, which returns its argument. `passes.txt` is tried with every type, and so
shows that literals, types and answers of a language are what they should be. What a browser shows
is tried on the folder's own `task.toml` instead. Read `probes` first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evalkit.benchmarks.web import page_problem
from evalkit.neutral import NeutralProblem
from evalkit.problem import Outcome, Problem, Sample
from evalkit.rendering import render
from evalkit.runtimes import Runtime
from evalkit.web_task import read_task

OUTCOMES = {
    "passes": Outcome.PASSED,
    "wrong": Outcome.WRONG,
    "malformed": Outcome.NOT_COMPILED,
    "exits": Outcome.CRASHED,
    "crashes": Outcome.CRASHED,
    "loops": Outcome.CPU_TIME,
    "floods": Outcome.OUTPUT,
}
_VALUES: dict[str, list[Any]] = {
    "int": [0, 7, -1, 2**53, -(2**53)],
    "float": [0.0, 0.1, -2.5, 1e-7, 6.02e23, 3],
    "str": ["", "a b", "\"\\'`", "%d $x #{y} {z}", "one\n\ttwo\n", "end\\"],
    "bool": [True, False],
}


@dataclass(frozen=True, slots=True)
class Probe:
    """One program and what must become of it."""

    name: str
    problem: Problem
    sample: Sample
    outcome: Outcome


def probes(runtime: Runtime) -> Iterator[Probe]:
    """Give every probe of a language."""
    for name, outcome in OUTCOMES.items():
        file = f"probes/{name}.txt"
        if not (runtime.folder / file).is_file():
            continue  # a language in which this cannot be written
        completion = runtime.template(file)
        if runtime.browser is not None:
            page = page_problem(read_task(runtime.folder / "task.toml"), runtime.name)
            yield Probe(name, page, Sample(page.task_id, 0, completion), outcome)
            continue
        kinds = _kinds(runtime) if outcome is Outcome.PASSED else ["int"]
        for kind in kinds:
            problem = render(_same_value(kind), runtime)
            yield Probe(f"{name} {kind}", problem, Sample(problem.task_id, 0, completion), outcome)


def _kinds(runtime: Runtime) -> list[str]:
    scalars = [kind for kind in _VALUES if kind in runtime.types]
    if "list" not in runtime.types:
        return scalars
    lists = [f"list[{kind}]" for kind in scalars]
    return [*scalars, *lists, *(f"list[{kind}]" for kind in lists)]


def _same_value(kind: str) -> NeutralProblem:
    values = _VALUES[kind.replace("list[", "").replace("]", "")]
    for _ in range(kind.count("list[")):
        values = [values, [], values[:1]]
    cases = [{"args": [value], "returns": value} for value in values]
    fields = {"id": f"probe/{kind}", "name": "same_value", "text": "Return `value` as it is."}
    parameters = [["value", kind]]
    return NeutralProblem.of(
        {**fields, "parameters": parameters, "returns": kind, "examples": [0], "cases": cases}
    )
