"""Which error has which status, and what every protocol owes."""

from __future__ import annotations

import pytest

from server.app import problem_of
from server.door import Forbidden, Unauthorized
from server.gateway import BodyTooLarge, BodyTooSlow
from server.inflight import EndReason, ShuttingDown
from server.metrics import RequestOutcome
from server.prompt import ContextTooLong
from tabwright import errors
from tabwright.errors import TabwrightError


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidRequest("n", 0, "give 1"), 400, "invalid_request"),
        (ContextTooLong("prompt", 1, "send less"), 400, "context_length_exceeded"),
        (errors.UnknownLanguage("x"), 400, "unknown_language"),
        (Unauthorized("x"), 401, "invalid_api_key"),
        (Forbidden("x"), 403, "forbidden"),
        (errors.UnknownModel("x"), 404, "model_not_found"),
        (BodyTooSlow("x"), 408, "body_too_slow"),
        (BodyTooLarge("x"), 413, "body_too_large"),
        (errors.RateLimited("x"), 429, "rate_limited"),
        (errors.EngineOverloaded("x"), 503, "engine_overloaded"),
        (errors.DeadlineExceeded("x"), 503, "deadline_exceeded"),
        (errors.EngineUnavailable("x"), 503, "engine_unavailable"),
        (ShuttingDown("x"), 503, "shutting_down"),
        (errors.EngineFailed("x"), 500, "engine_failed"),
        (errors.CorruptArtifact("x"), 500, "corrupt_artifact"),
        (None, 500, "internal_error"),
        (EndReason.SUPERSEDED, 499, "superseded"),
        (EndReason.REQUESTED, 499, "requested"),
        (EndReason.DEADLINE, 503, "deadline_exceeded"),
        (EndReason.SHUTDOWN, 503, "shutting_down"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_fault_has_a_status_and_a_code(
    error: TabwrightError | EndReason | None, status: int, code: str
) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    cancelled = isinstance(error, EndReason)
    assert (problem.outcome is RequestOutcome.CANCELLED) == cancelled
    if isinstance(error, errors.Busy):
        assert problem.retry_after_s == error.retry_after_s


def test_every_leaf_of_the_tree_has_a_branch_with_a_status() -> None:
    def leaves(kind: type[TabwrightError]) -> list[type[TabwrightError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    branches = (errors.CallerError, errors.Busy, errors.Unavailable, errors.Broken)
    for leaf in leaves(TabwrightError)[1:]:
        assert sum(issubclass(leaf, branch) for branch in branches) == 1, leaf
