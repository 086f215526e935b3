"""llama.cpp's protocol, asked as llama.vim and llama.vscode ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

LINES = "first line\nsecond line\nthird line\n"
FIELDS = ["content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached"]

# What llama.vim sends, to the letter of its field names.
ASKED: dict[str, Any] = {
    "id_slot": 0,
    "input_prefix": "import os\n",
    "input_suffix": "\nprint(x)\n",
    "input_extra": [{"text": "y = 1", "time": [1700000000, 123456], "filename": "b.py"}],
    "prompt": "x = ",
    "n_predict": 64,
    "stop": [],
    "n_indent": 0,
    "top_k": 40,
    "top_p": 0.90,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 60_000,
    "temperature": 0,
    "response_fields": FIELDS,
    "model": "",
}
WARM = ASKED | {
    "input_prefix": "",
    "input_suffix": "",
    "prompt": "",
    "n_predict": 0,
    "samplers": [],
    "t_max_prompt_ms": 1,
    "t_max_predict_ms": 1,
    "response_fields": [""],
}


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": LINES, "token_delay_s": 0.02}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(live: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url) as client:
        yield client


def infill(client: httpx.Client, **changes: Any) -> Any:
    answer = client.post("/infill", json=ASKED | changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_only_the_fields_asked_for_come_and_their_names_keep_the_slash(
    client: httpx.Client,
) -> None:
    answer = client.post("/infill", json=ASKED)
    assert list(answer.json()) == FIELDS
    assert answer.json()["timings/prompt_n"] > 0
    assert answer.json()["timings/predicted_ms"] > 0
    assert answer.text.startswith('{"content":"first line')


def test_a_whole_answer_has_what_a_status_bar_reads(client: httpx.Client) -> None:
    answer = infill(client, response_fields=None)
    assert answer["generation_settings"]["n_ctx"] == 1024
    assert answer["tokens_cached"] == answer["tokens_evaluated"] + answer["tokens_predicted"]
    assert answer["truncated"] is False
    assert answer["stop"] is True
    assert answer["timings"]["predicted_n"] == answer["tokens_predicted"]
    assert answer["timings"]["predicted_per_second"] > 0


def test_the_time_limit_ends_an_answer_after_its_first_line_break(client: httpx.Client) -> None:
    text = infill(client, t_max_predict_ms=1)["content"]
    assert text.startswith("first line\n")
    assert "third" not in text
    assert infill(client, t_max_predict_ms=0)["content"] == LINES


def test_the_time_limit_frees_the_engine(live: LiveGateway, client: httpx.Client) -> None:
    start = time.perf_counter()
    answer = infill(client, t_max_predict_ms=1, response_fields=None)
    assert answer["stop_type"] == "limit"
    assert answer["has_new_line"]
    live.wait_free()
    assert time.perf_counter() - start < 10


def test_a_warm_up_is_cheap_and_no_completion(live: LiveGateway, client: httpx.Client) -> None:
    before = (
        live.counted("tabwright_requests_total", protocol="llamacpp", outcome="ok"),
        live.engine.stats().generated_tokens,
    )
    assert client.post("/infill", json=WARM).json() == {}
    assert client.post("/infill", json=WARM | {"response_fields": None}).json()["content"] == ""
    after = (
        live.counted("tabwright_requests_total", protocol="llamacpp", outcome="ok"),
        live.engine.stats().generated_tokens,
    )
    assert after == before


def test_several_completions_are_an_array_and_one_is_an_object(client: httpx.Client) -> None:
    several = infill(client, n_cmpl=3, temperature=1, n_predict=5)
    assert [list(row) for row in several] == [FIELDS] * 3
    assert infill(client, n_cmpl=1)["content"] == LINES


def test_too_many_completions_are_refused(client: httpx.Client) -> None:
    answer = client.post("/infill", json=ASKED | {"n_cmpl": 1000})
    assert answer.status_code == 400
    assert "n_cmpl" in answer.json()["error"]["message"]


def test_prefix_and_suffix_must_be_there(client: httpx.Client) -> None:
    for field in ("input_prefix", "input_suffix"):
        body = {name: value for name, value in ASKED.items() if name != field}
        answer = client.post("/infill", json=body)
        assert answer.status_code == 400
        assert field in answer.json()["error"]["message"]


def test_the_last_event_of_a_stream_says_stop_with_timings(client: httpx.Client) -> None:
    body = ASKED | {"stream": True, "response_fields": None}
    text = client.post("/infill", json=body).text
    *pieces, last = text.strip().split("\n\n")
    assert all('"stop":false' in piece for piece in pieces)
    assert '"stop":true' in last
    assert '"timings":{' in last


def test_the_prompt_may_be_token_ids(live: LiveGateway, client: httpx.Client) -> None:
    ids = live.engine.artifact.tokenizer.encode("for i in")
    body = {"prompt": ids, "temperature": -1, "seed": -1, "max_tokens": 2}
    answer = client.post("/completion", json=body).json()
    assert answer["tokens_evaluated"] == len(ids)
    assert answer["tokens_predicted"] == 2


COLD = {"prompt": "for i in", "n_predict": 8, "temperature": 0}
WARMER = COLD | {"temperature": 1.5, "seed": 3}


def test_min_p_acts_before_temperature_and_only_if_it_is_among_the_samplers(
    client: httpx.Client,
) -> None:
    def content(**fields: Any) -> str:
        answer = client.post("/completion", json=WARMER | fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["content"])

    greedy = client.post("/completion", json=COLD).json()["content"]
    assert content(min_p=1.0) == greedy
    # The likeliest other token is e times less likely: at 1.5 that is no longer so.
    assert content(min_p=0.4) == greedy
    assert content(min_p=0.35) != greedy
    assert content(min_p=1.0, samplers=["top_k", "top_p"]) == content()


@pytest.mark.parametrize(
    "fields",
    [
        {"repeat_penalty": 1.1},
        {"repeat_penalty": 1.1, "repeat_last_n": 64},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"min_p": 1.5},
        {"repeat_penalty": 0, "repeat_last_n": -1},
    ],
    ids=str,
)
def test_penalties_that_would_be_others_are_refused(
    client: httpx.Client, fields: dict[str, Any]
) -> None:
    answer = client.post("/completion", json=COLD | fields)
    assert answer.status_code == 400
    assert next(iter(fields)).split("_")[0] in answer.json()["error"]["message"]


def test_penalties_that_are_the_same_act(client: httpx.Client) -> None:
    def content(**fields: Any) -> str:
        return str(client.post("/completion", json=COLD | fields).json()["content"])

    # At 10 what stands in the prompt is worse than everything else.
    again = {"prompt": LINES, "repeat_last_n": -1}
    assert content(repeat_penalty=10, **again) != content(**again)
    for neutral in (
        {"repeat_penalty": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"repeat_penalty": 1.1, "repeat_last_n": 0},
        {"repeat_penalty": 1.1, "presence_penalty": 1, "samplers": ["top_k"]},
    ):
        assert content(**neutral) == content()


def test_health_asks_for_no_key_and_says_whether_the_engine_answers(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, api_key="k") as live, httpx.Client(base_url=live.url) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/v1/health").status_code == 401, "Tabby's is another"
        assert client.get("/props").status_code == 401
        live.engine.broken = True  # type: ignore[attr-defined]
        live.wait(lambda: client.get("/health").status_code == 503, "it is seen")
        answer = client.get("/health")
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "unavailable_error"


def test_props_name_the_context_and_no_path(client: httpx.Client) -> None:
    props = client.get("/props").json()
    assert props["default_generation_settings"]["n_ctx"] == 1024
    assert props["model_path"] == "tiny"
    assert props["total_slots"] == 8
