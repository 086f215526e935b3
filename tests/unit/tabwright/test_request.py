"""Values that no engine should ever see are refused where a request is made."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, Finish, SamplingParams


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", -1),
        ("temperature", -0.1),
        ("temperature", 2.01),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("top_k", -1),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", math.nan),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", 11.0),
        ("repetition_penalty", math.nan),
        ("presence_penalty", 2.1),
        ("presence_penalty", -2.1),
        ("presence_penalty", math.nan),
        ("frequency_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("frequency_penalty", math.inf),
        ("alternatives", -1),
        ("alternatives", 21),
    ],
)
def test_sampling_out_of_range_is_refused_by_field(field: str, value: float) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(InvalidRequest, match=f"^{field}: ") as caught:
        SamplingParams(**wrong)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", 0),
        ("temperature", 2),
        ("top_p", 1),
        ("seed", 2**64 - 1),
        ("seed", -(2**63)),
        ("min_p", 1),
        ("repetition_penalty", 10),
        ("presence_penalty", -2),
        ("frequency_penalty", 2),
        ("logit_bias", ((0, -100), (5, 100))),
        ("alternatives", 20),
    ],
)
def test_sampling_at_the_edge_of_its_range_is_taken(field: str, value: float) -> None:
    edge: dict[str, Any] = {field: value}
    assert getattr(SamplingParams(**edge), field) == value


@pytest.mark.parametrize("bias", [100.1, -100.1, math.nan, math.inf])
def test_a_bias_out_of_range_is_refused_with_its_token(bias: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SamplingParams(logit_bias=((3, 1.0), (7, bias)))
    assert caught.value.field == "logit_bias.7"


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, math.inf, math.nan])
def test_a_deadline_that_is_no_time_is_refused(deadline_s: float) -> None:
    with pytest.raises(InvalidRequest, match=r"^deadline_s: "):
        CompletionRequest(prefix="", deadline_s=deadline_s)


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^stop: "):
        CompletionRequest(prefix="x", stop=("\n", ""))


def test_an_empty_request_is_a_request() -> None:
    request = CompletionRequest(prefix="")
    assert request.suffix is None
    assert request.sampling.temperature == 0


def test_finish_reasons_are_the_words_on_the_wire() -> None:
    assert [str(reason) for reason in Finish] == ["stop", "length"]
