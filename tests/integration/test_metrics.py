"""What the metrics say of a request: every stage once, and labels from closed sets."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from server.metrics import RequestOutcome
from server.protocols import PROTOCOLS
from server.timing import Stage
from tabwright.artifact import ModelArtifact
from tabwright.languages import OTHER_LANGUAGE, languages
from tests.fakes.live_gateway import LiveGateway, complete, live_gateway

ODD = ("", "SECRET", "python\n", "Ünïcode", "a" * 100_000, "../../etc/passwd", "C++")


@pytest.fixture
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny) as gateway:
        yield gateway


def stages(live: LiveGateway) -> dict[str, float]:
    return {
        stage: live.counted("tabwright_stage_seconds_count", protocol="tabby", stage=stage)
        for stage in Stage
    }


def tabby(live: LiveGateway, prefix: str, **fields: str) -> httpx.Response:
    body = {"segments": {"prefix": prefix, "suffix": ""} | fields}
    return httpx.post(f"{live.url}/v1/completions", json=body)


def test_every_stage_of_a_generation_is_counted_once(live: LiveGateway) -> None:
    assert tabby(live, "x = ").status_code == 200
    assert stages(live) == dict.fromkeys(Stage, 1)
    whole = live.counted("tabwright_request_seconds_sum", protocol="tabby")
    parts = [
        live.counted("tabwright_stage_seconds_sum", protocol="tabby", stage=stage)
        for stage in Stage
        if stage is not Stage.POSTPROCESS
    ]
    assert 0 < sum(parts) <= whole
    assert live.counted("tabwright_prompt_tokens_total") > 0


def test_an_answer_from_memory_has_no_stages_of_its_own(live: LiveGateway) -> None:
    tabby(live, "x = ")
    tabby(live, "x = ")
    assert live.counted("tabwright_suggestions_total", source="memory") == 1
    assert stages(live) == dict.fromkeys(Stage, 1)
    assert live.counted("tabwright_time_to_first_token_seconds_count", protocol="tabby") == 2


def test_a_prompt_with_several_choices_has_its_stages_for_each(live: LiveGateway) -> None:
    body = {"prompt": ["a", "b"], "suffix": "", "n": 2, "temperature": 1, "max_tokens": 3}
    assert httpx.post(f"{live.url}/v1/completions", json=body).status_code == 200
    count = live.counted("tabwright_stage_seconds_count", protocol="openai", stage="decode")
    assert count == 4
    assert live.counted("tabwright_requests_total", protocol="openai") == 1


def test_the_line_of_the_gateway_and_the_line_of_the_engine_are_told_apart(
    tiny: ModelArtifact,
) -> None:
    options = {"first_delay_s": 0.2, "slots": 1}
    with live_gateway(tiny, options=options, max_running=2, typeahead_mb=0) as live:
        clients = [complete(live.port, body={"prompt": "x", "max_tokens": 1}) for _ in range(3)]
        for client in clients:
            client.read_answer()
            client.close()

        def waited(stage: str) -> float:
            return live.counted("tabwright_stage_seconds_sum", protocol="openai", stage=stage)

        assert waited("prefill") >= 0.6
        assert waited("queue") >= 0.15  # two were admitted, one place was in the engine
        assert waited("admission") >= 0.15


def test_languages_and_the_model_are_counted(live: LiveGateway) -> None:
    tabby(live, "x = ", filepath="src/main.rs")
    httpx.post(
        f"{live.url}/v1/completions", json={"language": "python", "segments": {"prefix": "y"}}
    )
    model = live.gateway.artifact.name
    for language in ("rust", "python"):
        assert live.counted("tabwright_requests_total", language=language, variant=model) == 1


def test_label_values_are_closed_whatever_is_sent(live: LiveGateway) -> None:
    for odd in ODD:
        body = {"language": odd, "segments": {"prefix": "z", "filepath": odd}}
        httpx.post(f"{live.url}/v1/completions", json=body)
        httpx.post(f"{live.url}/v1/completions", json={"prompt": "z", "model": odd, "user": odd})
        httpx.get(f"{live.url}/v1/models/{odd.encode().hex()[:2000]}")
    text = httpx.get(f"{live.url}/metrics").text
    known: dict[str, set[str]] = {
        "protocol": set(PROTOCOLS),
        "language": {row.name for row in languages()} | {OTHER_LANGUAGE},
        "variant": {live.gateway.artifact.name},
        "outcome": {str(outcome) for outcome in RequestOutcome},
        "stage": {str(stage) for stage in Stage},
    }
    for label, values in known.items():
        found = set(re.findall(rf'\b{label}="([^"]*)"', text))
        assert found, label
        assert found <= values, label


def test_a_hit_of_a_millisecond_and_a_minute_have_buckets_of_their_own(live: LiveGateway) -> None:
    tabby(live, "x = ")
    text = httpx.get(f"{live.url}/metrics").text
    bounds = re.findall(r'tabwright_request_seconds_bucket\{le="([^"]+)"', text)
    assert bounds[0] == "0.001"
    assert bounds[-2:] == ["60.0", "+Inf"]
