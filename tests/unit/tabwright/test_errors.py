"""The error tree: every leaf has one branch, and the docstring draws the tree that is."""

from __future__ import annotations

import pytest

from tabwright import errors
from tabwright.errors import (
    Broken,
    Busy,
    CallerError,
    InvalidRequest,
    MissingExtra,
    TabwrightError,
    Unavailable,
)

BRANCHES = (CallerError, Busy, Unavailable, Broken)
LEAVES = sorted(
    (
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, TabwrightError)
        and value not in (TabwrightError, *BRANCHES)
    ),
    key=lambda leaf: leaf.__name__,
)


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_error_belongs_to_exactly_one_branch(leaf: type[TabwrightError]) -> None:
    assert sum(issubclass(leaf, branch) for branch in BRANCHES) == 1


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_docstring_draws_every_error(leaf: type[TabwrightError]) -> None:
    assert errors.__doc__ is not None
    assert leaf.__name__ in errors.__doc__.split()


def test_busy_and_unavailable_can_be_retried_but_a_missing_extra_cannot() -> None:
    assert Busy("x").retryable
    assert Unavailable("x").retryable
    assert not MissingExtra("torch", "train").retryable
    assert not CallerError("x").retryable


def test_a_missing_extra_says_what_to_install() -> None:
    assert "pip install 'tabwright[train]'" in str(MissingExtra("torch", "train"))


def test_an_invalid_request_shows_only_the_start_of_a_long_value() -> None:
    message = str(InvalidRequest("prompt", "x" * 10_000, "shorten it"))
    assert message.startswith("prompt: 'xxx")
    assert message.endswith("is not valid; shorten it")
    assert len(message) < 150
