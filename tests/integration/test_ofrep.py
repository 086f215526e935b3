"""Any OpenFeature SDK evaluates our flags: Python's own runs here, and what others insist on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from ab.flags import Arm, Flag, Rollout
from ab.stores.registry import open_store
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, live_gateway

PATH = "/ofrep/v1/evaluate/flags"
HALF = Rollout(100_000, (Arm("on", 1), Arm("off", 1)), "s")
FLAGS = [
    Flag("switch", {"on": True, "off": False}, "off", rollout=HALF),
    Flag("model.name", {"old": "m1", "new": "m2"}, "old", overrides={"ada": "new"}),
    Flag("ratio", {"low": 1, "high": 2.5}, "low"),
    Flag("count", {"one": 1}, "one"),
    Flag("bundle", {"a": {"lines": 3}}, "a", enabled=False),
]


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder: Path = tmp_path_factory.mktemp("ofrep")
    address = str(folder / "ab.sqlite")
    with closing(open_store(address)) as store:
        for flag in FLAGS:
            store.put(flag, 0, time.time(), "ada", "test")
    with live_gateway(tiny, store=address, spool_dir=folder / "spool") as live:
        yield live


@pytest.fixture(scope="module")
def sdk(live: LiveGateway) -> Iterator[Any]:
    api.set_provider(OFREPProvider(live.url))
    yield api.get_client()
    api.shutdown()


def test_the_sdk_gets_every_type(sdk: Any) -> None:
    ada = EvaluationContext("ada", {"language": "go"})
    assert sdk.get_string_value("model.name", "", ada) == "m2"
    assert sdk.get_float_value("ratio", 0.0, ada) == 1.0
    assert sdk.get_integer_value("count", 0, ada) == 1
    assert sdk.get_object_value("bundle", {}, ada) == {"lines": 3}
    assert sdk.get_object_details("bundle", {}, ada).reason == Reason.DISABLED


def test_the_sdk_sees_both_arms_and_why(sdk: Any) -> None:
    told = [sdk.get_boolean_details("switch", False, EvaluationContext(f"u{n}")) for n in range(40)]
    assert {(detail.value, detail.variant) for detail in told} == {(True, "on"), (False, "off")}
    assert {detail.reason for detail in told} == {Reason.SPLIT}
    assert sdk.get_boolean_details("switch", True).variant == "off", "nobody known is not split"


def test_the_sdk_is_told_what_is_wrong(sdk: Any) -> None:
    detail = sdk.get_string_details("nothing", "mine", EvaluationContext("ada"))
    assert (detail.value, detail.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    assert "switch" in detail.error_message
    detail = sdk.get_boolean_details("count", False, EvaluationContext("ada"))
    assert detail.error_code == ErrorCode.TYPE_MISMATCH


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b'{"context": 5}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 5}}', "INVALID_CONTEXT"),
    ],
)
@pytest.mark.parametrize("path", [PATH, PATH + "/switch"])
def test_a_wrong_question_has_the_error_that_sdks_read(
    live: LiveGateway, path: str, body: bytes, code: str
) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = httpx.post(live.url + path, content=body, headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()) == {"key", "errorCode", "errorDetails"}
    assert answer.json()["errorCode"] == code


def test_all_flags_at_once_change_their_tag_with_the_user_and_with_a_flip(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    address = str(tmp_path / "ab.sqlite")
    with (
        closing(open_store(address)) as store,
        live_gateway(tiny, store=address, spool_dir=tmp_path / "spool") as live,
        httpx.Client(base_url=live.url) as client,
    ):
        store.put(FLAGS[1], 0, time.time(), "ada", "")
        live.wait(lambda: live.gateway.flags.versions, "flags are read")

        def ask(user: str, etag: str = "") -> httpx.Response:
            headers = {"If-None-Match": etag} if etag else {}
            return client.post(PATH, json={"context": {"targetingKey": user}}, headers=headers)

        ada = ask("ada")
        tag = ada.headers["etag"]
        (row,) = ada.json()["flags"]
        assert (row["key"], row["value"], row["variant"]) == ("model.name", "m2", "new")
        assert row["reason"] == "TARGETING_MATCH"
        for given in (tag, f'W/{tag}, "other"'):
            same = ask("ada", given)
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        bob = ask("bob", tag)
        assert (bob.status_code, bob.json()["flags"][0]["variant"]) == (200, "old")
        store.put(FLAGS[1].__class__("model.name", {"old": "m1"}, "old"), 1, time.time(), "a", "")
        live.wait(lambda: ask("ada", tag).status_code == 200, "the flip is seen")


def test_without_a_store_there_are_no_flags(tiny: ModelArtifact) -> None:
    with live_gateway(tiny) as live:
        answer = httpx.post(live.url + PATH + "/switch", json={})
        assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
        assert httpx.post(live.url + PATH, json={}).json() == {"flags": []}


def test_a_key_is_asked_for_by_either_header(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, api_key="k") as live:
        assert httpx.post(live.url + PATH, json={}).status_code == 401
        for header in ({"Authorization": "Bearer k"}, {"X-API-Key": "k"}):
            assert httpx.post(live.url + PATH, json={}, headers=header).status_code == 200
