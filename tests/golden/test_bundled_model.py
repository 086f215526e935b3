"""Did the suggestions of the bundled model change?"""

from __future__ import annotations

import json

import pytest

from tests.golden.completions import ANSWERS, answers

pytestmark = [pytest.mark.anyio, pytest.mark.needs("cpu")]


async def test_the_bundled_model_answers_as_recorded() -> None:
    recorded = json.loads(ANSWERS.read_text("utf-8"))
    assert await answers() == recorded


def test_a_loop_over_a_length_is_completed_as_a_programmer_would() -> None:
    recorded = json.loads(ANSWERS.read_text("utf-8"))
    assert recorded["range of a length"] == "values)):"
    assert recorded["range of a length, with a suffix"] == "values)):"
