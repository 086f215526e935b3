"""The console's pages of what was measured: over HTTP, and as they look in a real browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ab.flags import Arm, Flag, Rollout
from ab.store import Decision
from ab.stores.registry import open_store
from tabwright.artifact import ModelArtifact
from tests.fakes.browser import WIDTHS, browser, page, reads
from tests.fakes.live_gateway import LiveGateway, live_gateway
from tests.fakes.team import work

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("playground", "flags", "experiments", "models", "live")
FLAG = Flag(
    "model",
    {"old": "tiny", "new": "next"},
    "old",
    rollout=Rollout(100_000, (Arm("old", 1), Arm("new", 1)), "model"),
    overrides={"somebody.with.a.long.name@example.org": "new"},
)
RUN = {
    "benchmark": "humaneval",
    "languages": {
        "python": {
            "tasks": 164,
            "samples": 1640,
            "pass_at_k": {"1": {"value": 0.312, "low": 0.25, "high": 0.37}},
        }
    },
}


@dataclass(frozen=True)
class Seen:
    """A gateway that a team has worked with."""

    live: LiveGateway
    since: str

    def get(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(self.live.url + "/v1/admin/" + path, params=query, timeout=60)

    def report(self, **query: str) -> httpx.Response:
        asked = {"flag": "model", "control": "old", "candidate": "new", "since": self.since}
        return self.get("report", **(asked | query))


@pytest.fixture(scope="module")
def seen(tiny: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("console")
    address = str(folder / "ab.sqlite")
    (folder / "run").mkdir()
    (folder / "run" / "report.json").write_text(json.dumps(RUN), encoding="utf-8")
    with closing(open_store(address)) as store:
        store.put(FLAG, 0, time.time(), "ada (key 3f9c01ab)", "try the next model")
        since = work(store, FLAG).date().isoformat()
        body = json.dumps({"by_hand": False})
        store.record(
            Decision("d" * 16, "model", "new", time.time(), "watch", "all gates", "HOLD", body)
        )
    with live_gateway(
        tiny,
        options={"answer": "len(values)"},
        others={"next": {"answer": "sum(values)"}},
        store=address,
        spool_dir=folder / "spool",
        evals={"tiny": folder / "run", "next": folder / "gone"},
    ) as live:
        yield Seen(live, since)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def test_a_report_is_that_of_the_command_with_its_parts(seen: Seen) -> None:
    answer = seen.report()
    assert answer.status_code == 200, answer.text
    report = answer.json()
    row = next(row for row in report["rows"] if row["metric"] == "acceptance")
    assert row["low"] > 0, "the new model was made to be better"
    closer = report["details"]
    assert closer["series"]["acceptance"][0]["day"] == seen.since
    assert {row["group"] for row in closer["languages"]} == {"go", "python", "typescript"}
    assert {row["group"] for row in closer["editors"]} == {"native", "tabby"}
    started = time.perf_counter()
    assert seen.report().json() == report
    assert time.perf_counter() - started < 0.5, "it is kept for a moment"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"since": ""}, "since"),
        ({"since": "yesterday"}, "yesterday"),
        ({"until": "2020-01-01"}, "--until"),
        ({"control": "x" * 201}, "control"),
        ({"store": "elsewhere.sqlite"}, "store"),
    ],
)
def test_a_wrong_question_is_refused_with_what_to_do(
    seen: Seen, query: dict[str, str], said: str
) -> None:
    answer = seen.report(**query)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"]


def test_while_a_report_is_made_completions_go_on(seen: Seen) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()  # asked by nobody yet
    with ThreadPoolExecutor(1) as other:
        made = other.submit(lambda: seen.report(until=tomorrow))
        answered = 0
        while not made.done():
            body = {"prefix": f"x{answered}", "suffix": "\n", "stream": False}
            answer = httpx.post(seen.live.url + "/v1/suggestions", json=body, timeout=20)
            assert answer.status_code == 200
            answered += 1
    assert made.result().status_code == 200
    assert answered > 3


def test_decisions_come_without_their_evidence(seen: Seen) -> None:
    (row,) = seen.get("decisions", flag="model").json()["decisions"]
    assert (row["verdict"], row["who"]) == ("HOLD", "watch")
    assert "body" not in row
    assert seen.get("decisions", flag="other").json() == {"decisions": []}


def test_models_tell_lineage_scores_and_who_has_them(seen: Seen) -> None:
    answer = seen.get("models").json()
    first, second = answer["models"]
    assert (first["name"], first["default"], second["name"]) == ("tiny", True, "next")
    assert first["report"]["languages"]["python"]["pass_at_k"]["1"]["value"] == 0.312
    assert "gone/report.json is no report of evalkit" in second["report"]["fault"]
    assert (first["users"]["percent"], second["users"]["percent"]) == (50, 50)
    assert second["users"]["overrides"] == 1
    assert len(first["digest"]) == 64
    assert answer["rungs"][-1] == 100


def test_live_numbers_grow_with_what_is_answered(seen: Seen) -> None:
    before = seen.get("live").json()
    body = {"prefix": "grow ", "suffix": "\n", "stream": False}
    httpx.post(seen.live.url + "/v1/suggestions", json=body)
    after = seen.get("live").json()
    ok = [look["tabwright_requests_total"]["ok"] for look in (before, after)]
    assert ok[1] - ok[0] == 1
    buckets = after["tabwright_request_seconds_bucket"]
    assert buckets["+Inf"] >= buckets["0.001"]
    assert after["tabwright_generated_tokens_total"] > before["tabwright_generated_tokens_total"]


def opened(tab: Page, seen: Seen, name: str) -> None:
    tab.goto(f"{seen.live.url}/console#{name}")
    tab.locator(f"main[data-page={name}] h1").wait_for()
    if name == "playground":
        tab.get_by_label("Code").press_sequentially("x")
        tab.locator(".has-ghost").wait_for()
    else:
        ready = {"flags": "[data-flag]", "experiments": ".band", "models": "[data-model]"}
        tab.locator(ready.get(name, "[data-tile]")).first.wait_for()


@pytest.mark.needs("browser")
def test_the_page_of_an_experiment_shows_what_was_found(seen: Seen, chromium: Browser) -> None:
    with page(chromium) as tab:
        opened(tab, seen, "experiments")
        tab.get_by_label("Since").fill(seen.since)
        tab.get_by_role("button", name="Compare").click()
        row = tab.get_by_role("row").filter(has=tab.get_by_role("rowheader", name="acceptance"))
        row.get_by_text("better").wait_for()
        plot = tab.get_by_role("img", name="acceptance of new less that of old")
        assert plot.locator(".band").count() == 1
        assert tab.locator(".plot .name", has_text="typescript").count() == 1
        tab.get_by_text("Power left").wait_for()
        tab.get_by_label("Metric of the plots").select_option("latency in ms")
        tab.get_by_role("img", name="latency in ms of new less that of old").wait_for()
        tab.get_by_role("cell", name="HOLD").wait_for()


@pytest.mark.needs("browser")
def test_the_live_page_counts_while_it_is_looked_at(seen: Seen, chromium: Browser) -> None:
    with page(chromium) as tab:
        opened(tab, seen, "live")
        for number in range(20):
            body = {"prefix": f"live {number}", "suffix": "\n", "stream": False}
            httpx.post(seen.live.url + "/v1/suggestions", json=body)
        reads(tab.locator("[data-tile='first token p50']"), re.compile(r"^[\d.]+ ms$"))
        tab.locator(".line.one").first.wait_for(state="attached")


@pytest.mark.needs("browser")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=list(WIDTHS))
def test_every_page_fits_is_named_and_can_be_read(
    seen: Seen, chromium: Browser, tmp_path: Path, theme: Any, width: int
) -> None:
    with page(chromium, width, color_scheme=theme) as tab:
        for name in PAGES:
            opened(tab, seen, name)
            picture = tmp_path / f"{name}-{theme}-{width}.png"
            tab.screenshot(path=picture, full_page=True)
            assert picture.stat().st_size > 5_000
            sizes = tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert sizes[0] <= sizes[1], f"{name} does not fit"
            assert tab.evaluate(NAMELESS) == [], name
            assert tab.evaluate(PALE) == [], name


@pytest.mark.needs("browser")
def test_the_keyboard_reaches_everything_and_tab_leaves_the_editor(
    seen: Seen, chromium: Browser
) -> None:
    with page(chromium) as tab:
        opened(tab, seen, "models")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.id") == "skip"
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "main"
        opened(tab, seen, "playground")
        tab.keyboard.press("Escape")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent").startswith("Accept")


@pytest.mark.needs("browser")
def test_the_theme_can_be_chosen_and_motion_is_spared(seen: Seen, chromium: Browser) -> None:
    with page(chromium, color_scheme="light", reduced_motion="reduce") as tab:
        opened(tab, seen, "models")
        background = "getComputedStyle(document.documentElement).backgroundColor"
        before = tab.evaluate(background)
        tab.get_by_label("Theme").select_option("dark")
        assert tab.evaluate(background) != before
        tab.reload()
        assert tab.evaluate(background) != before, "it is remembered"
        moving = "getComputedStyle(document.querySelector('button')).transitionDuration"
        assert tab.evaluate(moving) == "0s"


# Controls that nothing names, for people who hear the page.
NAMELESS = """[...document.querySelectorAll("button, input, select, textarea, a, summary")]
  .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()
    || one.closest("label")))
  .map((one) => one.outerHTML)"""

# Texts with less contrast to what is behind them than WCAG AA asks for.
PALE = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const passive = one.matches("textarea, noscript, option, :disabled");
    if (!own || passive || !one.checkVisibility()) continue;
    const style = getComputedStyle(one);
    const ink = one instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${one.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
})()"""
