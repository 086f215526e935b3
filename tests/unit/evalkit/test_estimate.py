"""The estimator against brute force over every subset, and its command."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.cli import main
from evalkit.estimate import pass_at_k
from tabwright.errors import InvalidRequest


@pytest.mark.parametrize("n", range(1, 9))
def test_estimate_equals_the_share_of_subsets_with_a_pass(n: int) -> None:
    for c in range(n + 1):
        samples = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(samples, k))
            expected = sum(map(any, subsets)) / len(subsets)
            assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 100_000), st.data())
def test_estimate_is_a_probability_that_grows_with_c(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    c = data.draw(st.integers(0, min(n, 300)))
    value = pass_at_k(n, c, k)
    assert 0.0 <= value <= 1.0
    if c < n:
        assert pass_at_k(n, c + 1, k) >= value
    if c == 0:
        assert value == 0.0


def test_pass_at_1_is_the_share_of_passes() -> None:
    assert pass_at_k(200, 31, 1) == pytest.approx(31 / 200)


def test_counts_whose_binomials_overflow_a_float_are_exact() -> None:
    from math import comb

    n, c, k = 5000, 7, 1000
    exact = 1 - comb(n - c, k) / comb(n, k)
    assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "c", "k", "field"),
    [(3, 1, 4, "k"), (0, 0, 1, "n"), (5, 6, 1, "c"), (5, -1, 1, "c"), (5, 1, 0, "k")],
)
def test_counts_without_an_unbiased_estimate_are_refused(
    n: int, c: int, k: int, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pass_at_k(n, c, k)
    assert caught.value.field == field


def test_command_prints_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--n", "20", "--c", "5", "-k", "1,10", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["n"] == 20
    assert answer["pass_at_k"]["1"] == pytest.approx(0.25)
    assert answer["pass_at_k"]["10"] == pytest.approx(pass_at_k(20, 5, 10))


def test_command_prints_one_line_per_k(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--n", "20", "--c", "5", "-k", "1,20"]) == 0
    assert capsys.readouterr().out == "pass@1  0.250000\npass@20  1.000000\n"


def test_command_refuses_n_below_k_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--n", "5", "--c", "1", "-k", "10"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("evalkit: k: 10 is not valid")
