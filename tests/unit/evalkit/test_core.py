"""The core set is of its form, its cases are true, and its Python references pass."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from evalkit.benchmarks.core import Core
from evalkit.neutral import NeutralProblem, fits
from evalkit.problem import Problem
from evalkit.runtimes import neutral_languages
from tabwright.errors import InvalidRequest, UnknownLanguage
from tests.unit.evalkit import core_again, core_texts

FOLDER = Path(__file__).parents[3] / "evalkit" / "benchmarks" / "core"
FILES = sorted(FOLDER.glob("*/problem.json"))
FORM = {"id", "name", "text", "parameters", "returns", "examples", "cases"}


def read(file: Path) -> NeutralProblem:
    return NeutralProblem.of(json.loads(file.read_bytes()), str(file))


def python_problems() -> list[Problem]:
    return list(Core().problems("python"))


def run_check(problem: Problem, completion: str) -> None:
    """Run the check of one of our own solutions here."""
    scope: dict[str, object] = {"__name__": "candidate"}
    exec(problem.prompt + completion, scope)
    tests: dict[str, object] = {}
    exec(problem.tests["check"], tests)
    check = tests["check"]
    assert callable(check)
    check(scope[problem.entry_point])


def test_there_are_at_least_forty_problems() -> None:
    assert len(FILES) >= 40
    assert len(python_problems()) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_every_problem_is_of_the_form(file: Path) -> None:
    problem = read(file)
    assert json.loads(file.read_bytes()).keys() == FORM
    assert problem.name == file.parent.name
    assert len(problem.cases) >= 8
    assert problem.examples
    shown = [problem.cases[place] for place in problem.examples]
    assert len(shown) < len(problem.cases)
    for case in problem.cases:
        assert fits(case.returns, problem.returns)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_texts_are_printable_ascii_and_tabs(file: Path) -> None:
    assert all(sign.isprintable() for sign in read(file).text)
    raw = json.dumps(json.loads(file.read_bytes()), ensure_ascii=False)
    assert raw.isascii()
    assert "\\n" not in raw


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_no_case_comes_twice_and_answers_differ(file: Path) -> None:
    problem = read(file)
    assert len({repr(case.args) for case in problem.cases}) == len(problem.cases)
    assert len({repr(case.returns) for case in problem.cases}) > 1


def test_no_two_problems_share_an_id() -> None:
    assert len({read(file).id for file in FILES}) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_a_second_solution_by_another_way_agrees(file: Path) -> None:
    problem = read(file)
    again = getattr(core_again, problem.name, None) or getattr(core_texts, problem.name)
    for case in problem.cases:
        found = again(*copy.deepcopy(case.args))
        assert found == case.returns
        assert type(found) is type(case.returns)


@pytest.mark.parametrize("problem", python_problems(), ids=lambda problem: problem.entry_point)
def test_the_python_reference_passes_and_an_empty_one_does_not(problem: Problem) -> None:
    assert problem.reference
    run_check(problem, problem.reference)
    with pytest.raises(AssertionError):
        run_check(problem, "    return None\n")


def test_a_check_tells_types_apart() -> None:
    by_name = {problem.entry_point: problem for problem in python_problems()}
    with pytest.raises(AssertionError):
        run_check(by_name["is_quiet_hour"], "    return int(hour >= 22 or hour < 6)\n")
    with pytest.raises(AssertionError):
        run_check(
            by_name["low_stock"],
            "    return tuple(i for i, n in enumerate(counts) if n < minimum)\n",
        )


def test_twelve_problems_or_more_are_solved_in_every_language() -> None:
    core = Core()
    assert set(core.languages) == set(neutral_languages())
    names = [{p.task_id for p in core.problems(language)} for language in core.languages]
    assert len(set.intersection(*names)) >= 12


def test_problems_come_in_the_order_of_their_ids() -> None:
    ids = [problem.task_id for problem in python_problems()]
    assert ids == sorted(ids)
    assert ids[0] == "core/01"


def test_a_language_without_solutions_is_refused_by_name() -> None:
    with pytest.raises(UnknownLanguage, match="cobol"):
        Core().problems("cobol")


def test_a_folder_of_the_same_form_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "crates_needed"
    (folder / "solutions").mkdir(parents=True)
    raw = (FOLDER / "crates_needed" / "problem.json").read_text(encoding="utf-8")
    (folder / "problem.json").write_text(raw, encoding="utf-8")
    (folder / "solutions" / "python.txt").write_text("    return 1\n", encoding="utf-8")
    (problem,) = Core(tmp_path / "mine").problems("python")
    assert problem.reference == "    return 1\n"


@pytest.mark.parametrize("broken", ["{}", "[", '{"id": 1}'])
def test_a_folder_of_another_form_is_refused(tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "one"
    (folder / "solutions").mkdir(parents=True)
    (folder / "problem.json").write_text(broken, encoding="utf-8")
    with pytest.raises(InvalidRequest):
        Core(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="path"):
        Core(tmp_path / "nowhere")
