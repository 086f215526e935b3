"""HumanEval's tests are read as tables of values, or the task is left out with the reason."""

from __future__ import annotations

import pytest

from evalkit.benchmarks.humaneval import HumanEval
from evalkit.benchmarks.humaneval_rendered import CannotRender, HumanEvalRendered, neutral_task
from evalkit.problem import Problem
from tabwright.errors import UnknownLanguage

PROMPT = 'def f(Xs, n):\n    """Do it.\n\n    >>> f([1], 2)\n    """\n'


def task(*asserts: str, prompt: str = PROMPT) -> Problem:
    lines = "".join(f"    {line}\n" for line in asserts)
    tests = {"check": f"METADATA = {{}}\n\ndef check(candidate):\n    'why'\n{lines}"}
    return Problem("H/1", "python", prompt, entry_point="f", tests=tests)


def test_types_are_those_of_all_values_together() -> None:
    found = neutral_task(
        task(
            "assert candidate([], 1) == []",
            "assert candidate([[1.5], []], -2) == ['a'], 'this'",
            "assert True, 'nothing'",
            "assert candidate([[2]], 3) == ['b', '']",
        )
    )
    assert found.parameters == (("xs", "list[list[float]]"), ("n", "int"))
    assert found.returns == "list[str]"
    assert [case.args for case in found.cases] == [([], 1), ([[1.5], []], -2), ([[2]], 3)]
    assert found.text == "Do it.\n\n>>> f([1], 2)"
    assert found.examples == ()


def test_asserts_without_a_value_are_true_or_false() -> None:
    found = neutral_task(
        task(
            "assert candidate([1], 1)",
            "assert not candidate([1], 2)",
            "assert candidate([1], 3) is True",
        )
    )
    assert [case.returns for case in found.cases] == [True, False, True]
    assert found.returns == "bool"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("assert candidate([1], 1) == (1, 2)", "tuple"),
        ("assert candidate([1], None) == 1", "NoneType"),
        ("assert candidate([1], 1) == {}", "dict"),
        ("assert candidate([1], 1) == []", "nothing says what the lists of the result hold"),
        ("assert candidate([[[1]]], 1) == 1", "nest more than twice"),
        ("assert candidate([1, 'a'], 1) == 1", "sometimes"),
        ("assert abs(candidate([1], 1) - 0.5) < 1e-6", "something else"),
        ("assert candidate([1], 1) == sum([1])", "computes"),
        ("for n in range(3): assert candidate([1], n) == n", "program"),
        ("assert candidate([1]) == 1", "leave arguments out"),
        ("assert True", "asserts nothing"),
        ("assert candidate([1], 9007199254740993) == 1", "cannot be stated"),
    ],
)
def test_what_is_no_table_is_left_out_with_its_reason(line: str, reason: str) -> None:
    with pytest.raises(CannotRender, match=reason):
        neutral_task(task(line))


def test_a_number_whose_type_is_the_question_is_left_out() -> None:
    with pytest.raises(CannotRender, match="n is sometimes int and sometimes float"):
        neutral_task(task("assert candidate([1], 1)", "assert candidate([1], 1.5)"))


def test_a_text_that_would_end_a_comment_is_left_out() -> None:
    with pytest.raises(CannotRender, match="comment"):
        neutral_task(task("assert candidate([1], 1)", prompt='def f(a, b):\n    """Say " ."""\n'))


def test_every_task_is_there_or_left_out() -> None:
    benchmark = HumanEvalRendered()
    asked = {problem.task_id for problem in benchmark.problems("c")}
    assert asked | benchmark.left_out.keys() == {p.task_id for p in HumanEval().problems("python")}
    assert not asked & benchmark.left_out.keys()
    assert len(asked) > 110
    for language in benchmark.languages:
        assert len(benchmark.problems(language)) == len(asked)


def test_python_itself_has_the_original() -> None:
    with pytest.raises(UnknownLanguage, match="python"):
        HumanEvalRendered().problems("python")
