"""Answers are cut to what fits at the cursor, in every protocol, and the engine stops there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

RAW = "items)):\n        total += items[i]\n    return total\n"
BODY: dict[str, Any] = {
    "prompt": "def total(items):\n    total = 0\n    for i in range(len(",
    "suffix": "\n        total += items[i]\n",
    "max_tokens": 60,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    # Its tokens have a probability of 0.6 each.
    options = {"answer": RAW}
    with live_gateway(tiny, options=options, postprocess="v1", typeahead_mb=0) as gateway:
        yield gateway


def complete(live: LiveGateway, headers: dict[str, str] | None = None, **more: Any) -> Any:
    body = {key: value for key, value in (BODY | more).items() if value is not None}
    answer = httpx.post(f"{live.url}/v1/completions", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def text(answer: Any) -> str:
    shown: str = answer["choices"][0]["text"]
    return shown


def test_the_engine_stops_where_the_answer_ends(live: LiveGateway) -> None:
    raw, cut = complete(live, {"X-Tabwright-Postprocess": "off"}), complete(live)
    assert (text(raw), text(cut)) == (RAW, "items)):")
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < raw["usage"]["completion_tokens"] / 2


def test_a_plain_continuation_is_raw(live: LiveGateway) -> None:
    assert text(complete(live, suffix=None)) == RAW


def test_the_callers_stop_strings_come_first(live: LiveGateway) -> None:
    assert text(complete(live, stop=["s"])) == "item"


@pytest.mark.parametrize(("least", "shown"), [("0.5", "items)):"), ("0.7", "")])
def test_what_the_model_is_not_sure_of_is_not_shown(
    live: LiveGateway, least: str, shown: str
) -> None:
    answer = complete(live, {"X-Tabwright-Min-Confidence": least})
    assert text(answer) == shown
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_the_wish_for_one_line_or_several_is_heard(live: LiveGateway) -> None:
    empty = {"prompt": "def f(items):\n    for i in range(len(", "suffix": ""}
    several = complete(live, {"X-Tabwright-Lines": "multi"}, **empty)
    single = complete(live, {"X-Tabwright-Lines": "single"}, **empty)
    assert text(several) == "items)):\n        total += items[i]\n    return total"
    assert text(single) == "items)):"


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/infill", {"input_prefix": BODY["prompt"], "input_suffix": BODY["suffix"]}, "content"),
        (
            "/api/generate",
            {"model": "tiny", "prompt": BODY["prompt"], "suffix": BODY["suffix"], "stream": False},
            "response",
        ),
    ],
)
def test_other_protocols_get_the_same(
    live: LiveGateway, path: str, body: dict[str, Any], key: str
) -> None:
    more = {"temperature": 0, "options": {"temperature": 0}}
    answer = httpx.post(live.url + path, json=body | more, timeout=20).json()
    assert answer[key] == "items)):"


def test_tabby_gets_the_same(live: LiveGateway) -> None:
    segments = {"prefix": BODY["prompt"], "suffix": BODY["suffix"]}
    body = {"language": "python", "segments": segments, "temperature": 0}
    answer = httpx.post(f"{live.url}/v1/completions", json=body, timeout=20).json()
    assert text(answer) == "items)):"
