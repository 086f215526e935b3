"""Did the suggestions of the bundled model change?"""

from __future__ import annotations

import json

import pytest

from tests.golden.completions import ANSWERS, answers

pytestmark = [pytest.mark.anyio, pytest.mark.needs("cpu")]


async def test_the_bundled_model_answers_as_recorded() -> None:
    recorded = json.loads(ANSWERS.read_text("utf-8"))
    assert await answers() == recorded


def test_the_recorded_answers_are_what_a_programmer_would_write() -> None:
    recorded = json.loads(ANSWERS.read_text("utf-8"))
    assert ")" in recorded["range of a length"]
    assert recorded["a hole between brackets"] != ""
