"""Files of other benchmarks' forms are read, their references pass and wrong solutions do not.

The rows here are made up; judging them in a sandbox is in tests/integration.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.problem import Problem
from evalkit.registry import load_benchmark
from tabwright.errors import InvalidRequest, UnknownLanguage

PROMPT = 'def twice(n: int) -> int:\n    """Return n, twice."""\n'
HUMANEVAL = {
    "task_id": "H/0",
    "prompt": PROMPT,
    "entry_point": "twice",
    "canonical_solution": "    return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
HUMANEVAL_X = {
    "task_id": "Python/0",
    "prompt": PROMPT,
    "declaration": "def twice(n: int) -> int:\n",
    "canonical_solution": "    return 2 * n\n",
    "test": "def check(twice):\n    assert twice(2) == 4\n\ncheck(twice)\n",
    "example_test": "",
}
JAVASCRIPT_X = {
    "task_id": "JavaScript/0",
    "prompt": "const twice = (n) => {\n",
    "declaration": "const twice = (n) => {\n",
    "canonical_solution": "  return 2 * n;\n}\n",
    "test": "const test = () => {\n  console.assert(twice(2) === 4)\n}\ntest()\n",
}
MBPP = {
    "task_id": 1,
    "text": "Write a function to double a number.",
    "code": "import math\r\ndef half(n):\r\n    return n / 2\r\ndef twice(n):\r\n    return 2 * n",
    "test_list": ["assert twice(2) == 4", "assert math.isclose(twice(0.5), one())"],
    "test_setup_code": "import math\ndef one():\n    return 1.0",
    "challenge_test_list": [],
}
EVALPLUS = {
    "task_id": "HumanEval/0",
    "prompt": PROMPT,
    "entry_point": "twice",
    "canonical_solution": "    if n > 100:\n        return twice(n - 1) + 2\n    return 2 * n\n",
    "base_input": [[1]],
    "plus_input": [[101], [0.1]],
    "atol": 0,
}
MULTIPL_E = {
    "name": "H_0_twice",
    "language": "py",
    "prompt": PROMPT,
    "tests": "def check(candidate):\n    assert candidate(2) == 4\n\n"
    "def test_check():\n    check(twice)\n\ntest_check()\n",
    "stop_tokens": ["\ndef", "\nif"],
}
ROWS: dict[str, Mapping[str, Any]] = {
    "humaneval": HUMANEVAL,
    "humaneval-x": HUMANEVAL_X,
    "mbpp": MBPP,
    "evalplus": EVALPLUS,
    "multipl-e": MULTIPL_E,
}
FORMS = pytest.mark.parametrize("name", ROWS)


def written(folder: Path, *rows: Mapping[str, Any]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    return file


def loaded(name: str, folder: Path, *rows: Mapping[str, Any]) -> Sequence[Problem]:
    return load_benchmark(name, written(folder, *rows)).problems("python")


def run_check(problem: Problem, completion: str) -> None:
    """Do what the checker does, here, with a solution of our own."""
    candidate: dict[str, Any] = {"__name__": "candidate"}
    exec(problem.prompt + completion, candidate)
    default = problem.prompt + (problem.reference or "    pass\n")
    scope: dict[str, Any] = {"__name__": "tests"}
    exec(problem.tests.get("setup", default), scope)
    scope[problem.entry_point] = scope["candidate"] = candidate[problem.entry_point]
    exec(problem.tests["check"], scope)
    exec(problem.tests.get("run", "check(candidate)"), scope)


def solution(name: str, body: str) -> str:
    return f"def twice(n):\n    {body}\n" if name == "mbpp" else f"    {body}\n"


@FORMS
def test_a_right_solution_passes_and_a_wrong_one_does_not(name: str, tmp_path: Path) -> None:
    (problem,) = loaded(name, tmp_path, ROWS[name])
    assert problem.entry_point == "twice"
    assert problem.language == "python"
    if name != "multipl-e":
        assert problem.reference
        run_check(problem, problem.reference)
    run_check(problem, solution(name, "return n + n"))
    with pytest.raises(AssertionError):
        run_check(problem, solution(name, "return n + 1"))


@FORMS
def test_gzipped_files_are_read_too(name: str, tmp_path: Path) -> None:
    file = tmp_path / "humaneval_python.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(ROWS[name]).encode()))
    assert len(load_benchmark(name, file).problems("python")) == 1


@FORMS
def test_other_languages_are_refused(name: str, tmp_path: Path) -> None:
    benchmark = load_benchmark(name, written(tmp_path, ROWS[name]))
    with pytest.raises(UnknownLanguage):
        benchmark.problems("rust")


@FORMS
@pytest.mark.parametrize("text", ["", "no json", "[1, 2]", "7", '{"task_id": "x"}'])
def test_a_file_of_another_form_is_refused(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text, encoding="utf-8")
    if name == "multipl-e" and "task_id" in text:
        assert load_benchmark(name, file).left_out
        return
    with pytest.raises(InvalidRequest, match="path"):
        load_benchmark(name, file)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "humaneval"])
def test_what_is_not_bundled_asks_for_its_path(name: str) -> None:
    with pytest.raises(InvalidRequest, match="--path"):
        load_benchmark(name)


def test_mbpp_says_how_the_function_is_called_and_keeps_the_asserts(tmp_path: Path) -> None:
    (problem,) = loaded("mbpp", tmp_path, MBPP)
    assert problem.task_id == "MBPP/1"
    assert "assert twice(2) == 4" in problem.prompt
    assert "\r" not in (problem.reference or "")


def test_sanitized_mbpp_is_read_as_one_list(tmp_path: Path) -> None:
    row = {
        "source_file": "x",
        "task_id": 2,
        "prompt": "Double it.",
        "code": "def twice(n):\n    return 2 * n",
        "test_imports": ["import math"],
        "test_list": ["assert math.floor(twice(2)) == 4"],
    }
    file = tmp_path / "sanitized.json"
    file.write_text(json.dumps([row]), encoding="utf-8")
    (problem,) = load_benchmark("mbpp", file).problems("python")
    run_check(problem, "def twice(n):\n    return n + n\n")


def test_an_mbpp_task_whose_asserts_need_a_class_of_the_solution_is_left_out(
    tmp_path: Path,
) -> None:
    row = {
        **MBPP,
        "task_id": 3,
        "code": "class Pair:\n    pass\n\ndef twice(n):\n    return 0",
        "test_list": ["assert twice(Pair()) == 0"],
    }
    benchmark = load_benchmark("mbpp", written(tmp_path, MBPP, row))
    assert [problem.task_id for problem in benchmark.problems("python")] == ["MBPP/1"]
    assert benchmark.left_out == {"MBPP/3": "its asserts use Pair of the solution"}


def test_an_mbpp_task_whose_asserts_call_nothing_of_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="MBPP/1"):
        loaded("mbpp", tmp_path, {**MBPP, "test_list": ["assert other(1)"]})


def test_evalplus_allows_a_little_for_floats_only(tmp_path: Path) -> None:
    (problem,) = loaded("evalplus", tmp_path, EVALPLUS)
    run_check(problem, "    return 2 * n + (1e-9 if type(n) is float else 0)\n")
    for wrong in ("2 * n + 1e-9", "2 * n + (1e-3 if type(n) is float else 0)", "str(2 * n)"):
        with pytest.raises(AssertionError):
            run_check(problem, f"    return {wrong}\n")


def test_evalplus_takes_any_root_where_roots_are_asked_for(tmp_path: Path) -> None:
    row = {
        **EVALPLUS,
        "prompt": "def poly(xs, x):\n    return xs[0] + xs[1] * x * x\n\ndef find_zero(xs):\n",
        "entry_point": "find_zero",
        "canonical_solution": "    return (-xs[0] / xs[1]) ** 0.5\n",
        "base_input": [[[-4, 1]]],
        "plus_input": [],
        "atol": 1e-4,
    }
    (problem,) = loaded("evalplus", tmp_path, row)
    run_check(problem, "    return -((-xs[0] / xs[1]) ** 0.5)\n")
    with pytest.raises(AssertionError):
        run_check(problem, "    return 3.0\n")


def test_evalplus_asks_with_fresh_arguments(tmp_path: Path) -> None:
    row = {
        **EVALPLUS,
        "prompt": "def total(xs):\n",
        "entry_point": "total",
        "canonical_solution": "    result = sum(xs)\n    xs.clear()\n    return result\n",
        "base_input": [[[1, 2]], [[1, 2]]],
        "plus_input": [],
    }
    (problem,) = loaded("evalplus", tmp_path, row)
    run_check(problem, "    xs.sort()\n    return sum(xs)\n")


def test_mbpp_plus_rows_continue_a_docstring_with_the_whole_function(tmp_path: Path) -> None:
    row = {
        **EVALPLUS,
        "task_id": "Mbpp/2",
        "prompt": '"""\nDouble it.\nassert twice(2) == 4\n"""\n',
        "canonical_solution": "def twice(n):\n    return 2 * n\n",
    }
    (problem,) = loaded("evalplus", tmp_path, row)
    assert "\ndef " not in problem.stop
    run_check(problem, "def twice(n):\n    return n + n\n")


def test_each_language_of_a_folder_has_its_rows(tmp_path: Path) -> None:
    folder = tmp_path / "python" / "data"
    folder.mkdir(parents=True)
    written(folder, HUMANEVAL_X).rename(folder / "humaneval_python.jsonl")
    wrong = {**JAVASCRIPT_X, "task_id": "JavaScript/112"}
    written(folder, JAVASCRIPT_X, wrong).rename(folder / "humaneval_js.jsonl")
    benchmark = load_benchmark("humaneval-x", tmp_path)
    assert list(benchmark.languages) == ["javascript", "python"]
    (problem,) = benchmark.problems("javascript")
    assert problem.entry_point == "twice"
    assert problem.tests["program"] == "humaneval-x"
    assert list(benchmark.left_out) == ["JavaScript/112"]


def test_rows_that_cannot_be_judged_are_left_out_by_name(tmp_path: Path) -> None:
    lua = {
        **MULTIPL_E,
        "language": "lua",
        "prompt": "function twice(n)\n",
        "tests": "function test()\n    lu.assertEquals(candidate(2), 4)\nend\n",
    }
    julia = {**lua, "name": "H_1_twice", "language": "jl"}
    endless = {**lua, "name": "H_2_twice", "tests": "function test()\nend\n"}
    benchmark = load_benchmark("multipl-e", written(tmp_path, MULTIPL_E, lua, julia, endless))
    (problem,) = benchmark.problems("lua")
    assert problem.entry_point == "twice"
    assert problem.stop == ("\ndef", "\nif")
    assert set(benchmark.left_out) == {"H_1_twice", "lua: H_2_twice"}


def test_multipl_e_uses_the_stop_tokens_of_the_file(tmp_path: Path) -> None:
    (problem,) = loaded("multipl-e", tmp_path, MULTIPL_E)
    assert problem.stop == ("\ndef", "\nif")
    assert problem.reference is None
