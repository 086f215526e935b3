"""Answers are believed only if they are values of the declared type, in the one form there is."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.answers import wrong_case
from evalkit.neutral import NeutralProblem


def problem(kind: str, *expected: Any) -> NeutralProblem:
    return NeutralProblem.of(
        {
            "id": "t",
            "name": "t",
            "text": "",
            "parameters": [],
            "returns": kind,
            "examples": [],
            "cases": [{"args": [], "returns": value} for value in expected],
        }
    )


@pytest.mark.parametrize(
    ("kind", "value", "printed"),
    [
        ("int", -12, "i-12"),
        ("int", 2**53, "i9007199254740992"),
        ("float", 0.1, "f0.1"),
        ("float", 3, "f3"),
        ("float", 1e-7, "f1E-07"),
        ("str", "", "s"),
        ("str", "é\n", "sc3a90a"),
        ("bool", True, "b1"),
        ("list[int]", [], "[]"),
        ("list[list[str]]", [["a"], [], ["", "b"]], "[[s61],[],[s,s62]]"),
    ],
)
def test_a_right_answer_is_believed(kind: str, value: Any, printed: str) -> None:
    assert wrong_case(problem(kind, value), printed) is None


@pytest.mark.parametrize(
    ("kind", "value", "printed"),
    [
        ("int", 1, "f1"),
        ("int", 1, "b1"),
        ("int", 1, "i1 "),
        ("int", 1, ""),
        ("int", 1, "i1;i1"),
        ("float", 0.1, "f0.1001"),
        ("float", 0.1, "fnan"),
        ("float", 0.1, "f0.1.1"),
        ("str", "a", "s6"),
        ("str", "a", "sff"),
        ("bool", True, "b2"),
        ("list[int]", [1, 2], "[i1i2]"),
        ("list[int]", [1, 2], "[i1,i2"),
        ("list[int]", [1, 2], "[i2,i1]"),
        ("list[list[int]]", [[]], "[]"),
        ("list[int]", [], "[[]]"),
    ],
)
def test_anything_else_is_wrong(kind: str, value: Any, printed: str) -> None:
    assert wrong_case(problem(kind, value), printed) is not None


def test_the_first_wrong_case_is_named_and_too_few_answers_are_wrong() -> None:
    assert wrong_case(problem("int", 1, 2, 3), "i1;i5;i6") == 1
    assert wrong_case(problem("int", 1, 2, 3), "i1;i2") == 2
