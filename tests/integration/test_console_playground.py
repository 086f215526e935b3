"""The console's playground in a real browser: what is typed, shown, taken and reported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from server.keys_cli import main as keys_command
from tabwright.artifact import ModelArtifact
from tests.fakes.browser import browser, page, reads
from tests.fakes.live_gateway import LiveGateway, live_gateway

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("browser")
ANSWER = "total(values) / len(values)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


class Playground:
    """The page as its user has it, and what the gateway wrote down."""

    def __init__(self, live: LiveGateway, seen: Page, events: Path) -> None:
        self.live, self.page, self._events = live, seen, events
        self.code = seen.get_by_label("Code")
        self.ghost = seen.locator("[data-ghost]")

    def open(self) -> None:
        self.page.goto(self.live.url + "/console")
        self.code.wait_for()

    def type(self, text: str) -> None:
        """At once: on a busy machine something would be shown, and dismissed, between two keys."""
        self.code.focus()
        self.page.keyboard.insert_text(text)

    def wait_ghost(self, text: str) -> None:
        reads(self.ghost, text)

    def fact(self, name: str) -> str:
        return self.page.locator(f"[data-fact='{name}']").inner_text()

    def events(self) -> list[Any]:
        if not self._events.exists():
            return []
        rows = [json.loads(row) for row in self._events.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["reported_by"] == "native"]

    def wait_events(self, *kinds: str) -> list[Any]:
        """The first events; a next suggestion may have been shown by then."""

        def there() -> bool:
            return [row["kind"] for row in self.events()][: len(kinds)] == list(kinds)

        self.live.wait(there, f"{kinds} are reported")
        return self.events()[: len(kinds)]


@contextmanager
def playground(
    tiny: ModelArtifact, chromium: Browser, folder: Path, answer: str = ANSWER, **more: Any
) -> Iterator[Playground]:
    options = {"answer": answer, "token_delay_s": more.pop("token_delay_s", 0.0)}
    events = folder / "events.jsonl"
    with (
        live_gateway(tiny, options=options, events_file=events, **more) as live,
        page(chromium) as seen,
    ):
        yield Playground(live, seen, events)


def test_tab_accepts_what_is_shown_and_the_event_arrives(
    tiny: ModelArtifact, chromium: Browser, tmp_path: Path
) -> None:
    with playground(tiny, chromium, tmp_path) as ground:
        ground.open()
        ground.type("return ")
        ground.wait_ghost(ANSWER)
        ground.page.locator("[data-kind=shown] .receipt", has_text="counted").wait_for()
        ground.page.keyboard.press("Tab")
        assert ground.code.input_value().endswith("    return " + ANSWER)
        assert ground.code.evaluate("area => document.activeElement === area"), "focus stays"
        shown, accepted = ground.wait_events("shown", "accepted")
        assert shown["shown_ms"] >= 750
        assert accepted["part"] == "full"
        assert accepted["chars"] == len(ANSWER)
        assert accepted["joined"], "the gateway knows what was accepted"
        assert accepted["suggestion"]["language"] == "python"
        assert ground.fact("Model") == "tiny"
        assert re.fullmatch(r"[\d.]+ ms", ground.fact("Total"))


def test_words_are_taken_one_by_one_and_escape_leaves_the_rest(
    tiny: ModelArtifact, chromium: Browser, tmp_path: Path
) -> None:
    with playground(tiny, chromium, tmp_path) as ground:
        ground.open()
        ground.type("return ")
        ground.wait_ghost(ANSWER)
        ground.page.keyboard.press("Control+ArrowRight")
        ground.wait_ghost(ANSWER.removeprefix("total"))
        ground.page.keyboard.press("Control+ArrowRight")
        ground.wait_ghost(ANSWER.removeprefix("total("))
        ground.page.keyboard.press("Escape")
        ground.wait_ghost("")
        assert ground.code.input_value().endswith("return total(")
        found = ground.wait_events("shown", "accepted", "accepted", "dismissed")
        assert [row["part"] for row in found[1:3]] == ["word", "word"]
        assert found[3]["explicit"] is True
        assert len({row["suggestion"]["id"] for row in found}) == 1


def test_what_is_typed_through_stays_and_comes_from_memory(
    tiny: ModelArtifact, chromium: Browser, tmp_path: Path
) -> None:
    with playground(tiny, chromium, tmp_path) as ground:
        ground.open()
        ground.type("return ")
        ground.wait_ghost(ANSWER)
        ground.type("tot")
        ground.wait_ghost(ANSWER.removeprefix("tot"))
        ground.page.locator("[data-fact=Source]", has_text="memory").wait_for()
        ground.type("?")
        ground.page.locator("[data-kind=dismissed]", has_text="typed on").wait_for()
        typed_on = ground.wait_events("shown", "dismissed")[1]
        assert typed_on["explicit"] is False


def test_a_newer_keystroke_ends_what_runs(
    tiny: ModelArtifact, chromium: Browser, tmp_path: Path
) -> None:
    slow: dict[str, Any] = {"answer": "x" * 200, "token_delay_s": 0.05, "typeahead_mb": 0}
    with playground(tiny, chromium, tmp_path, **slow) as ground:
        ground.open()
        ground.type("a")
        ground.page.locator(".has-ghost").wait_for()
        ground.type("b")
        ground.live.wait(
            lambda: ground.live.cancels("disconnect") + ground.live.cancels("superseded") >= 1,
            "the first request is ended",
        )
        ground.page.goto("about:blank")
        ground.live.wait_free()


def test_what_a_model_writes_stays_text(
    tiny: ModelArtifact, chromium: Browser, tmp_path: Path
) -> None:
    answer = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    with playground(tiny, chromium, tmp_path, answer) as ground:
        ground.open()
        ground.page.on("dialog", lambda _: pytest.fail("the model's text was run"))
        ground.type("x")
        ground.wait_ghost(answer)
        assert ground.ghost.locator("*").count() == 0


def test_with_keys_a_key_is_asked_for_and_a_wrong_one_is_refused(
    tiny: ModelArtifact, chromium: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.jsonl"
    keys_command(["create", "--name", "ada", "--keys-file", str(file), "--json"])
    token = json.loads(capsys.readouterr().out)["token"]
    with playground(tiny, chromium, tmp_path, keys_file=file) as ground:
        seen = ground.page
        seen.goto(ground.live.url + "/console")
        field = seen.get_by_role("dialog").get_by_label("Key")
        field.fill("tw_wrong")
        field.press("Enter")
        seen.get_by_role("alert").filter(has_text="the API key is missing or wrong").wait_for()
        field.fill(token)
        field.press("Enter")
        ground.type("return ")
        ground.wait_ghost(ANSWER)
        ground.page.keyboard.press("Tab")
        accepted = ground.wait_events("shown", "accepted")[1]
        assert accepted["suggestion"]["user"] == "ada"
        assert token not in json.dumps(seen.context.storage_state()), "nor is it kept for long"
        seen.reload()
        ground.code.wait_for()


def test_the_page_may_load_nothing_but_itself(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, api_key="k") as live:
        start = httpx.get(live.url + "/console")
        assert "text/html" in start.headers["content-type"]
        policy = start.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"(?:src|href)=\"(?!console/)", start.text), "only its own files"
        assert "tiny" not in start.text
        missing = httpx.get(live.url + "/console/nothing.js")
        assert (missing.status_code, missing.json()["code"]) == (404, "unknown_page")
        assert httpx.get(live.url + "/v1/session").status_code == 401
