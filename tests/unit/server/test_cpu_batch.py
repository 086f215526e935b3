"""What a request that OpenVINO cannot compute costs the others: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from server.engines.cpu_batch import Batch
from server.engines.cpu_messages import Add, Piece

pytestmark = pytest.mark.needs("cpu")


class IdlePipeline:
    """OpenVINO with nothing in its pipeline."""

    def has_non_finished_requests(self) -> bool:
        return False


class SmallMachine:
    """OpenVINO without memory for request 1."""

    def begin(self, add: Add) -> Any:
        return NoMemory() if add.request == 1 else Served()


class NoMemory:
    reading = True

    def advance(self, *, alone: bool) -> Piece:
        del alone
        raise RuntimeError("cannot allocate")


class Served:
    reading = True

    def advance(self, *, alone: bool) -> Piece:
        del alone
        return Piece(2, [5], [-0.5], "length")


def test_a_request_that_fails_leaves_the_others_alone() -> None:
    batch = Batch(IdlePipeline(), SmallMachine())  # type: ignore[arg-type]
    for number in (1, 2):
        batch.obey(Add(number, [3], 1, 0.0, 1.0, 0, 0, [], alternatives=1))
    reports = []
    while batch.busy:
        reports.append(batch.step())
    assert [number for report in reports for number in report.failed] == [1]
    assert [piece.request for report in reports for piece in report.pieces] == [2]
