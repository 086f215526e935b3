"""Flags in the console: over HTTP as any program, and in a browser as a person changes them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ab.flags import Arm, Flag, Rollout
from ab.store import Store
from ab.stores.registry import open_store
from server.keys_cli import main as keys_command
from tabwright.artifact import ModelArtifact
from tests.fakes.browser import browser, page
from tests.fakes.live_gateway import LiveGateway, live_gateway

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ADMIN = "/v1/admin/flags"
MODEL = Flag("model", {"old": "tiny", "new": "next"}, "old")
HALF = Rollout(50_000, (Arm("old", 1), Arm("new", 1)), "s")


class Desk:
    """A gateway with two models, its store, and the tokens of an admin and of a developer."""

    def __init__(self, live: LiveGateway, store: Store, tokens: dict[str, str]) -> None:
        self.live, self.store, self.tokens = live, store, tokens

    def ask(self, path: str, name: str = "ada", **headers: str) -> httpx.Response:
        return httpx.get(self.live.url + path, headers=self._headers(name) | headers)

    def change(self, revision: int, name: str = "ada", user: str = "", **fields: Any) -> Any:
        body = {"revision": revision, "why": "test"} | fields
        headers = self._headers(name) | ({"X-Tabwright-User": user} if user else {})
        return httpx.post(f"{self.live.url}{ADMIN}/model", json=body, headers=headers)

    def _headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"} if name else {}


@pytest.fixture
def desk(tiny: ModelArtifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    keys, address = tmp_path / "keys.jsonl", str(tmp_path / "ab.sqlite")
    tokens = {}
    for name, scopes in (("ada", "complete,events,admin"), ("bob", "complete,events")):
        words = ["create", "--name", name, "--scopes", scopes, "--keys-file", str(keys), "--json"]
        assert keys_command(words) == 0
        tokens[name] = json.loads(capsys.readouterr().out)["token"]
    with closing(open_store(address)) as store:
        store.put(MODEL, 0, time.time(), "eve", "begin")
        with live_gateway(
            tiny,
            options={"answer": "OLD"},
            others={"next": {"answer": "NEW"}},
            store=address,
            spool_dir=tmp_path / "spool",
            keys_file=keys,
        ) as live:
            yield Desk(live, store, tokens)


def test_a_change_is_written_with_the_keys_name_and_the_reason(desk: Desk) -> None:
    key_id = desk.tokens["ada"].split("_")[1]
    answer = desk.change(1, change={"enabled": False})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["revision"], answer.json()["enabled"]) == (2, False)
    desk.change(2, user="mallory", change={"overrides": {"bob": "new"}})
    versions = desk.ask(f"{ADMIN}/model").json()["versions"]
    said = [(version["who"], version["why"]) for version in versions]
    by_ada = f"ada (key {key_id})"
    assert said == [("eve", "begin"), (by_ada, "test"), (f"mallory, by {by_ada}", "test")]
    assert desk.ask(ADMIN).json()["flags"][0]["overrides"] == {"bob": "new"}


def test_a_stale_revision_is_refused_and_says_who_was_faster(desk: Desk) -> None:
    desk.change(1, change={"enabled": False})
    answer = desk.change(1, change={"default_variant": "new"})
    assert (answer.status_code, answer.json()["code"]) == (409, "stale_revision")
    assert "ada" in answer.json()["detail"]
    assert desk.store.flags()["model"].revision == 2


@pytest.mark.parametrize(
    ("status", "field", "fields"),
    [
        (400, "why", {"why": ""}),
        (400, "change", {"change": 5}),
        (400, "default_variant", {"change": {"default_variant": "no"}}),
        (400, "variants.new", {"change": {"variants": {"old": "tiny", "new": "gone"}}}),
        (400, "colour", {"change": {"colour": "red"}}),
        (
            400,
            "rollout.share",
            {"change": {"rollout": {"share": 100_001, "salt": "s", "arms": {"new": 1}}}},
        ),
    ],
)
def test_what_is_no_flag_is_refused_with_what_to_do(
    desk: Desk, status: int, field: str, fields: dict[str, Any]
) -> None:
    answer = desk.change(1, **({"change": {}} | fields))
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert desk.store.flags()["model"].revision == 1


def test_users_change_arms_only_when_that_is_wished(desk: Desk) -> None:
    desk.store.put(replace(MODEL, rollout=HALF), 1, time.time(), "eve", "half")
    wider = {"rollout": {"share": 50_000, "salt": "s", "arms": {"old": 1, "new": 3}}}
    assert desk.change(2, change=wider).json()["field"] == "rollout.arms"
    assert desk.change(2, change=wider, reshuffle=True).status_code == 200


def test_a_new_flag_is_made_at_revision_zero_and_no_other(desk: Desk) -> None:
    url = f"{desk.live.url}{ADMIN}/lines"
    headers = {"Authorization": f"Bearer {desk.tokens['ada']}"}
    change = {"variants": {"a": "auto"}, "default_variant": "a"}
    body = {"revision": 1, "why": "x", "change": change}
    assert httpx.post(url, json=body, headers=headers).status_code == 404
    assert httpx.post(url, json=body | {"revision": 0}, headers=headers).json()["revision"] == 1
    assert desk.ask(f"{ADMIN}/other").status_code == 404


def test_flags_are_for_admins(desk: Desk, tiny: ModelArtifact) -> None:
    assert desk.ask(ADMIN, "").status_code == 401
    assert desk.ask(ADMIN, "bob").json()["detail"].startswith("this key has no scope 'admin'")
    assert desk.change(1, "bob", change={"enabled": False}).status_code == 403
    with live_gateway(tiny) as storeless:
        answer = httpx.get(storeless.url + ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_store")
        elsewhere = {"Origin": "http://evil.example"}
        written = httpx.post(f"{storeless.url}{ADMIN}/model", json={}, headers=elsewhere)
        assert written.status_code == 403, "nor may a web page of another site"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def opened(seen: Page, desk: Desk, name: str, token: str = "ada") -> None:
    """Open a page of the console with a key in its place."""
    seen.goto(desk.live.url + "/console#" + name)
    seen.evaluate("token => sessionStorage.setItem('tabwright-key', token)", desk.tokens[token])
    seen.reload()


def saved(seen: Page, why: str) -> None:
    seen.get_by_label("Why model changes").fill(why)
    seen.get_by_role("button", name="Save").click()


@pytest.mark.needs("browser")
def test_a_flip_in_the_console_changes_which_model_answers(desk: Desk, chromium: Browser) -> None:
    desk.store.put(replace(MODEL, rollout=HALF), 1, time.time(), "eve", "half")
    with page(chromium) as seen:
        opened(seen, desk, "flags")
        seen.get_by_label("User to override in model").fill("ada")
        seen.get_by_label("Variant for the user in model").select_option("new")
        seen.get_by_role("button", name="Override the user in model").click()
        saved(seen, "she asked for it")
        seen.get_by_text("revision 3").wait_for()
        live = desk.live.gateway.flags
        desk.live.wait(lambda: live.versions["model"].revision == 3, "the gateway has read it")
        assert suggestion(seen) == "NEW"
        assert seen.locator("[data-fact=Model]").inner_text() == "next"
        assert seen.locator("[data-fact=Variant]").inner_text() == "model=new"
        seen.get_by_role("link", name="Flags").click()
        seen.get_by_role("switch", name="model is on").click()
        saved(seen, "it is slow")
        seen.get_by_text("revision 4").wait_for()
        desk.live.wait(lambda: live.versions["model"].revision == 4, "the gateway has read it")
        assert suggestion(seen) == "OLD"
        assert desk.store.history("model")[-1].why == "it is slow"


def suggestion(seen: Page) -> str:
    """What the playground shows after a keystroke."""
    seen.get_by_role("link", name="Playground").click()
    seen.get_by_label("Code").press_sequentially("x")
    seen.locator(".has-ghost [data-ghost]").wait_for()
    seen.locator("[data-state]", has_text="Shown").wait_for()
    return seen.locator("[data-ghost]").inner_text()


@pytest.mark.needs("browser")
def test_who_comes_second_loses_nothing(desk: Desk, chromium: Browser) -> None:
    desk.store.put(replace(MODEL, rollout=HALF), 1, time.time(), "eve", "half")
    with page(chromium) as seen:
        opened(seen, desk, "flags")
        share = seen.get_by_label("Exact share of model in percent")
        share.fill("62.5")
        theirs = replace(MODEL, rollout=HALF, overrides={"carl": "old"})
        desk.store.put(theirs, 2, time.time(), "eve", "carl wants the old one")
        saved(seen, "nothing is slower")
        alert = seen.get_by_role("alert").filter(has_text="Not saved")
        alert.wait_for()
        assert "carl gets old" in alert.inner_text()
        assert share.input_value() == "62.5"
        assert seen.get_by_label("Why model changes").input_value() == "nothing is slower"
        seen.get_by_role("button", name="Save").click()
        seen.get_by_text("revision 4").wait_for()
        now = desk.store.flags()["model"].flag
        assert now.rollout is not None
        assert (now.rollout.share, dict(now.overrides)) == (62_500, {"carl": "old"})
        seen.get_by_text("History").click()
        seen.get_by_role("cell", name="share 50 % → 62.5 %").wait_for()


@pytest.mark.needs("browser")
def test_a_key_without_the_scope_is_told_so(desk: Desk, chromium: Browser) -> None:
    with page(chromium) as seen:
        opened(seen, desk, "flags", "bob")
        seen.get_by_role("status").filter(has_text="no scope 'admin'").wait_for()


@pytest.mark.needs("browser")
def test_a_flag_is_made_in_the_console_and_what_is_wrong_is_said(
    desk: Desk, chromium: Browser
) -> None:
    with page(chromium) as seen:
        opened(seen, desk, "flags")
        seen.get_by_role("button", name="New flag").click()
        form = seen.get_by_role("form", name="New flag")
        alert = form.get_by_role("alert")

        def make() -> None:
            form.get_by_role("button", name="Make the flag").click()

        form.get_by_label("Key").fill("post process")
        form.get_by_label("Why").fill("tries it")
        for number, (name, value) in enumerate((("a", "off"), ("a", "v1")), 1):
            form.get_by_label(f"Name of variant {number}").fill(name)
            form.get_by_label(f"Value of variant {number}").fill(value)
        make()
        alert.get_by_text("name each once").wait_for()
        form.get_by_label("Name of variant 2").fill("b")
        make()
        alert.get_by_text("give up to 100 letters, digits, dots and dashes").wait_for()
        form.get_by_label("Key").fill("postprocess")
        form.get_by_label("Targeting").fill('{"map": []}')
        make()
        alert.filter(has_text="map").wait_for()
        form.get_by_label("Targeting").fill('{"if": [{"==": [{"var": "language"}, "go"]}, "b"]}')
        form.get_by_label("Value of variant 2").fill("v99")
        make()
        alert.get_by_text("a running gateway knows off, v1 only").wait_for()
        form.get_by_label("Value of variant 2").fill("v1")
        form.get_by_label("Weight of variant 2").fill("3")
        form.get_by_label("Share").fill("12.5")
        make()
        seen.locator("[data-flag=postprocess]").wait_for()
        assert form.is_hidden()
        made = desk.store.flags()["postprocess"]
        assert made.flag == Flag(
            "postprocess",
            {"a": "off", "b": "v1"},
            "a",
            targeting={"if": [{"==": [{"var": "language"}, "go"]}, "b"]},
            rollout=Rollout(12_500, (Arm("a", 1), Arm("b", 3)), "postprocess"),
        )
        assert made.why == "tries it"


@pytest.mark.needs("browser")
def test_targeting_is_edited_and_a_flag_is_archived_and_restored(
    desk: Desk, chromium: Browser
) -> None:
    with page(chromium) as seen:
        opened(seen, desk, "flags")
        seen.get_by_text("Targeting and archive").click()
        rule = seen.get_by_label("Targeting of model")
        rule.fill("{")
        seen.get_by_role("alert").filter(has_text="give a rule in JSON").wait_for()
        rule.fill('{"none": []}')
        saved(seen, "go first")
        seen.get_by_role("alert").filter(has_text="none").wait_for()
        given = {"if": [{"==": [{"var": "language"}, "go"]}, "new"]}
        rule.fill(json.dumps(given))
        saved(seen, "go first")
        seen.get_by_text("revision 2").wait_for()
        assert desk.store.flags()["model"].flag.targeting == given
        rule.fill("")
        saved(seen, "no rule")
        seen.get_by_text("revision 3").wait_for()
        assert desk.store.flags()["model"].flag.targeting is None
        seen.get_by_role("button", name="Archive model").click()
        saved(seen, "it has won")
        seen.get_by_text("Archived flags").click()
        seen.get_by_text("gateways do as if there were no such flag").wait_for()
        live = desk.live.gateway.flags
        desk.live.wait(lambda: not live.versions, "the gateway has read it")
        seen.get_by_role("button", name="Restore model").click()
        saved(seen, "not yet")
        seen.get_by_text("revision 5").wait_for()
        assert desk.store.flags()["model"].flag.archived is False
