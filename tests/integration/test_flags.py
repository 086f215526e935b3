"""Flags decide in a running gateway which model answers whom; a flip drops nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ab.errors import InvalidFlag
from ab.flags import Arm, Flag, Rollout
from ab.offers import check
from ab.store import Store
from ab.stores.registry import open_store
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, RawClient, live_gateway

BODY = {"prefix": "def f():\n    return ", "suffix": "\n", "path": "a.py", "stream": False}
BOTH = {"old": "tiny", "new": "next"}


class Rig:
    """A gateway with two models, and the store that its flags are in."""

    def __init__(self, live: LiveGateway, store: Store) -> None:
        self.live, self.store = live, store
        self.client = httpx.Client(base_url=live.url, timeout=20)

    def put(self, flag: Flag) -> None:
        """Write a flag and wait until the gateway goes by it."""
        before = self.store.flags().get(flag.key)
        self.store.put(flag, before.revision if before else 0, time.time(), "ada", "test")
        watch = self.live.gateway.flags
        self.live.wait(
            lambda: (v := watch.versions.get(flag.key)) is not None and v.flag == flag, "it is read"
        )

    def ask(self, user: str = "ada", headers: dict[str, str] | None = None, **more: Any) -> Any:
        given = BODY | {"user": user} | more
        return self.client.post("/v1/suggestions", json=given, headers=headers or {})


@pytest.fixture
def rig(tiny: ModelArtifact, tmp_path: Path) -> Iterator[Rig]:
    address = str(tmp_path / "ab.sqlite")
    with (
        closing(open_store(address)) as store,
        live_gateway(
            tiny,
            others={"next": {"answer": "NEW", "token_delay_s": 0.001}},
            options={"answer": "OLD", "token_delay_s": 0.001},
            store=address,
            spool_dir=tmp_path / "spool",
            cohorts={"internal": ["eve"]},
        ) as live,
    ):
        rig = Rig(live, store)
        yield rig
        rig.client.close()


def model(**parts: Any) -> Flag:
    return Flag("model", BOTH, "old", **parts)


ALL_NEW = Rollout(100_000, (Arm("new", 1),), "s")


def test_without_flags_the_default_model_answers_all(rig: Rig) -> None:
    answer = rig.ask()
    assert answer.json()["choices"][0]["text"] == "OLD"
    assert answer.json()["variants"] == {}
    assert answer.headers["x-tabwright-model"] == "tiny"
    assert "x-tabwright-variants" not in answer.headers


def test_a_flip_changes_who_answers_within_a_second_and_says_so(rig: Rig) -> None:
    rig.put(model(rollout=ALL_NEW))
    answer = rig.ask()
    assert answer.json()["choices"][0]["text"] == "NEW"
    assert (answer.json()["model"], answer.json()["variants"]) == ("next", {"model": "new"})
    assert answer.headers["x-tabwright-model"] == "next"
    assert answer.headers["x-tabwright-variants"] == "model=new"
    rig.put(model(rollout=ALL_NEW, enabled=False))
    assert rig.ask().json()["choices"][0]["text"] == "OLD", "nor does memory answer for it"


def test_nobody_known_gets_the_default(rig: Rig) -> None:
    rig.put(model(rollout=ALL_NEW))
    assert rig.ask(user="").json()["choices"][0]["text"] == "OLD"


def test_rules_see_language_editor_and_cohort(rig: Rig) -> None:
    rule = {
        "if": [
            {
                "and": [
                    {"==": [{"var": "cohort"}, "internal"]},
                    {"==": [{"var": "language"}, "python"]},
                    {"==": [{"var": "editor"}, "native"]},
                ]
            },
            "new",
        ]
    }
    rig.put(model(targeting=rule))
    assert rig.ask("eve").json()["choices"][0]["text"] == "NEW"
    assert rig.ask("eve", path="a.go").json()["choices"][0]["text"] == "OLD"
    assert rig.ask("ada").json()["choices"][0]["text"] == "OLD"


def test_an_override_is_marked_since_it_was_not_chance(rig: Rig) -> None:
    rig.put(model(overrides={"ada": "new"}))
    answer = rig.ask()
    assert answer.json()["choices"][0]["text"] == "NEW"
    assert answer.headers["x-tabwright-variants"] == "!model=new"
    assert rig.ask("bob").headers["x-tabwright-variants"] == "model=old"


def test_a_running_request_ends_on_the_model_it_began_with(rig: Rig) -> None:
    engine = rig.live.engine
    engine._settings = replace(engine._settings, answer="x" * 60, token_delay_s=0.05)  # type: ignore[attr-defined]
    body = {**BODY, "user": "ada", "stream": True}
    with RawClient(rig.live.port, "/v1/suggestions", body) as running:
        running.read_until(rb"event: piece")
        rig.put(model(rollout=ALL_NEW))
        assert b"event: done" not in running.received
        assert b'"model":"tiny"' in running.read_until(rb"event: done\ndata: .*\n\n")
    assert rig.ask(prefix="other ").json()["model"] == "next"


def test_what_a_request_asks_for_itself_comes_before_flags(rig: Rig) -> None:
    rig.put(model(rollout=ALL_NEW))
    rig.put(Flag("postprocess", {"on": "v1"}, "on"))
    assert rig.ask().headers["x-tabwright-variants"] == "model=new&postprocess=on"
    raw = rig.ask(headers={"X-Tabwright-Postprocess": "off"})
    assert raw.headers["x-tabwright-variants"] == "model=new"
    rig.put(model(rollout=None))
    pinned = rig.ask(model="next", postprocess="off")
    assert pinned.json()["choices"][0]["text"] == "NEW"
    assert pinned.json()["variants"] == {}
    assert rig.ask(model="nobody").status_code == 404


def test_ids_of_another_model_are_refused_and_flags_leave_tools_alone(rig: Rig) -> None:
    rig.put(model(rollout=ALL_NEW))
    plain = {"prompt": "a", "max_tokens": 4, "user": "ada"}
    headers = {"X-Tabwright-User": "ada"}
    answer = rig.client.post("/v1/completions", json=plain, headers=headers)
    assert answer.headers["x-tabwright-model"] == "tiny"
    for wrong in ({"logprobs": 2}, {"prompt": [1, 2, 3]}):
        body = plain | {"model": "next"} | wrong
        answer = rig.client.post("/v1/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


def test_a_model_that_is_not_there_is_a_visible_fallback(rig: Rig) -> None:
    flag = Flag("model", {"old": "tiny", "new": "missing"}, "old", rollout=ALL_NEW)
    rig.live.wait(lambda: rig.store.gateways(0), "the gateway says what it has")
    with pytest.raises(InvalidFlag, match=r"variants\.new.*tiny, next only.*server\.models"):
        check(flag, rig.store.gateways(time.time() - 20).values())
    rig.put(flag)
    answer = rig.ask()
    assert answer.json()["choices"][0]["text"] == "OLD"
    assert answer.headers["x-tabwright-model"] == "tiny"
    assert answer.headers["x-tabwright-variants"] == "model=new"
    assert rig.live.counted("tabwright_flag_fallbacks_total", flag="model") == 1


def test_a_flag_that_is_put_away_is_as_if_there_were_none(rig: Rig) -> None:
    rig.put(Flag("model", BOTH, "new"))
    assert rig.ask().json()["model"] == "next"
    before = rig.store.flags()["model"]
    away = replace(before.flag, enabled=False, archived=True)
    rig.store.put(away, before.revision, time.time(), "ada", "it has won")
    rig.live.wait(lambda: not rig.live.gateway.flags.versions, "it is read")
    assert "x-tabwright-variants" not in rig.ask(prefix="y = ").headers
    assert rig.ask(prefix="y = ").json()["model"] == "tiny"
    assert rig.client.post("/ofrep/v1/evaluate/flags/model", json={}).status_code == 404


def test_all_models_are_listed_the_default_first(rig: Rig) -> None:
    listed = rig.client.get("/v1/models").json()["data"]
    assert [card["id"] for card in listed] == ["tiny", "next"]
