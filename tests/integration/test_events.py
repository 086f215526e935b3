"""What editors report reaches the file of events, complete and without anybody's code."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.telemetry import EventQueue, EventsFull
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, RawClient, live_gateway

ANSWER = "SECRET_ANSWER(items)):\n    total += items[i]\n# end"
PREFIX = "SECRET_PREFIX = 1\nfor i in range("
SUFFIX = "\nprint(SECRET_SUFFIX)\n"
Rows = list[dict[str, Any]]
Texts = dict[str, Any]


class Told:
    """A gateway and the events in its file."""

    def __init__(self, live: LiveGateway, path: Path) -> None:
        self.live = live
        self.path = path
        self.client = httpx.Client(base_url=live.url, timeout=20)

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def suggest(self, **more: Any) -> str:
        body = {"prefix": PREFIX, "suffix": SUFFIX, "path": "a.py", "stream": False}
        return str(self.post("/v1/suggestions", body | more)["id"])

    def report(self, *events: dict[str, Any], status: int = 202) -> Any:
        return self.post("/v1/suggestions/events", {"events": events}, status)

    def rows(self, suggestion: str) -> Rows:
        text = self.path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        return [row for row in rows if row["suggestion"]["id"] == suggestion]

    def wait(self, suggestion: str, kinds: list[str]) -> Rows:
        self.live.wait(
            lambda: [row["kind"] for row in self.rows(suggestion)] == kinds, f"{kinds} are written"
        )
        return self.rows(suggestion)

    def counted(self, kind: str, protocol: str) -> float:
        return self.live.counted("tabwright_editor_events_total", kind=kind, protocol=protocol)

    def unjoined(self, protocol: str) -> float:
        return self.live.counted("tabwright_editor_events_unjoined_total", protocol=protocol)


@pytest.fixture(scope="module")
def told(tiny: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    options = {"answer": ANSWER, "token_delay_s": 0.002}
    with live_gateway(tiny, options=options, events_file=path) as live:
        told = Told(live, path)
        yield told
        told.client.close()
    assert "SECRET" not in path.read_text(encoding="utf-8")


def event(kind: str, suggestion: str, **more: Any) -> dict[str, Any]:
    return {"id": f"{suggestion}/{kind}".replace("/", ":"), "suggestion_id": suggestion} | (
        {"kind": kind} | more
    )


def test_the_life_of_a_suggestion_is_written_down(told: Told) -> None:
    ours = told.suggest(user="ada")
    before = time.time()
    answer = told.report(
        event("shown", ours),
        event("accepted", ours, part="word", chars=6, shown_ms=900, at=before - 5),
        event("retained", ours, retained={"after_s": 30, "share": 0.75}),
        event("dismissed", ours, explicit=False),
    )
    assert answer == {"counted": 4, "unknown": 0, "repeated": 0}
    kinds = ["requested", "shown", "accepted", "retained", "dismissed"]
    asked, shown, accepted, retained, dismissed = told.wait(ours, kinds)
    assert asked["suggestion"] == {
        "id": ours,
        "protocol": "native",
        "key": "",
        "user": "ada",
        "language": "python",
        "model": "tiny",
        "source": "engine",
        "variants": "",
    }
    assert asked["outcome"] == "ok"
    assert 0 <= asked["wait_ms"] <= asked["first_token_ms"] <= asked["total_ms"]
    assert shown["reported_by"] == "native"
    assert shown["at"] == pytest.approx(before, abs=60)
    assert (accepted["part"], accepted["chars"], accepted["shown_ms"]) == ("word", 6, 900)
    assert accepted["at"] == pytest.approx(before - 5)
    assert (retained["after_s"], retained["retained_share"]) == (30, 0.75)
    assert dismissed["explicit"] is False


def test_a_batch_that_comes_again_changes_nothing(told: Told) -> None:
    ours = told.suggest()
    before = told.counted("shown", "native")
    batch = [event("shown", ours), event("shown", "sug-unknown")]
    assert told.report(*batch) == {"counted": 1, "unknown": 1, "repeated": 0}
    assert told.report(*batch) == {"counted": 0, "unknown": 0, "repeated": 2}
    assert told.counted("shown", "native") == before + 2
    (unknown,) = told.wait("sug-unknown", ["shown"])
    assert unknown["joined"] is False
    assert len(told.wait(ours, ["requested", "shown"])) == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "liked"}, "events.1.kind"),
        ({"id": "a b"}, "events.1.id"),
        ({"id": None}, "events.1.id"),
        ({"suggestion_id": "x" * 129}, "events.1.suggestion_id"),
        ({"at": 4e9}, "events.1.at"),
        ({"at": -1}, "events.1.at"),
        ({"shown_ms": -1}, "events.1.shown_ms"),
        ({"chars": 3}, "events.1"),
        ({"explicit": True}, "events.1"),
        ({"kind": "retained"}, "events.1"),
        ({"kind": "retained", "retained": {"after_s": 30, "share": 2}}, "events.1.retained.share"),
    ],
    ids=str,
)
def test_one_wrong_event_refuses_the_batch_by_its_place(
    told: Told, wrong: dict[str, Any], field: str
) -> None:
    before = told.counted("shown", "native")
    good = event("shown", "sug-good")
    problem = told.report(good, event("shown", "sug-wrong") | wrong, status=400)
    assert problem["field"] == field
    assert told.counted("shown", "native") == before
    assert not told.rows("sug-good")


def test_a_batch_is_bounded(told: Told) -> None:
    events = [event("shown", f"sug-{number}") for number in range(257)]
    assert told.report(*events, status=400)["field"] == "events"
    assert told.report() == {"counted": 0, "unknown": 0, "repeated": 0}


async def full(*_: object) -> None:
    raise EventsFull("no room")


def test_a_full_queue_refuses_reports_and_loses_no_request(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = told.suggest()
    monkeypatch.setattr(EventQueue, "record", lambda *_: False)
    monkeypatch.setattr(EventQueue, "keep", full)
    before = told.live.counted("tabwright_events_dropped_total")
    answer = told.client.post("/v1/suggestions/events", json={"events": [event("shown", ours)]})
    assert answer.status_code == 503
    assert answer.json()["code"] == "events_full"
    assert "retry-after" in answer.headers
    told.suggest()
    assert told.live.counted("tabwright_events_dropped_total") == before + 2
    monkeypatch.undo()
    assert told.report(event("shown", ours)) == {"counted": 1, "unknown": 0, "repeated": 0}


def test_an_answer_without_text_is_told(told: Told) -> None:
    ours = told.suggest(stop=["SECRET"])
    told.wait(ours, ["requested", "returned_empty"])


def test_tabby_events_are_the_same_events(told: Told) -> None:
    segments = {"prefix": PREFIX, "suffix": SUFFIX, "filepath": "a.py"}
    ours = told.post("/v1/completions", {"segments": segments})["id"]
    base = {"completion_id": ours, "choice_index": 0, "view_id": "v", "elapsed": 700}
    told.post("/v1/events", base | {"type": "view"})
    told.client.post("/v1/events?select_kind=line", json=base | {"type": "select"})
    told.post("/v1/events", base | {"type": "dismiss"})
    kinds = ["requested", "shown", "accepted", "dismissed"]
    asked, shown, accepted, dismissed = told.wait(ours, kinds)
    assert asked["suggestion"]["protocol"] == "tabby"
    assert {shown["reported_by"], dismissed["reported_by"]} == {"tabby"}
    assert (accepted["part"], accepted["shown_ms"]) == ("line", 700)


def autocomplete(name: str, **data: Any) -> dict[str, Any]:
    """A report as Continue's `data:` destination posts it, on the level `all`."""
    own = {
        "accepted": True,
        "time": 210,
        "completionId": name,
        "filepath": "file:///home/SECRET_USER/a.py",
        "gitRepo": "SECRET_REPO",
        "modelProvider": "mistral",
        "modelName": "AUTODETECT",
        "cacheHit": False,
        "userId": "SECRET_USER",
        "uniqueId": "machine",
        "userAgent": "vscode/1.90 (Continue/1.0)",
    }
    envelope = {"name": "autocomplete", "schema": "0.2.0", "level": "all", "profileId": "local"}
    return envelope | {"data": own | data}


def fill(told: Told, **more: Any) -> str:
    body = {"prompt": PREFIX, "suffix": SUFFIX, "temperature": 0, "max_tokens": 64}
    return str(told.post("/v1/fim/completions", body | more)["id"])


def test_continue_reports_find_the_suggestion_by_its_text(told: Told) -> None:
    ours = fill(told)
    text: Texts = {"prefix": PREFIX, "suffix": SUFFIX, "prompt": "", "completion": ANSWER}
    for _ in range(2):  # sent again, counted once
        told.post("/v1/continue/events", autocomplete("theirs-1", **text), 202)
    asked, shown, accepted = told.wait(ours, ["requested", "shown", "accepted"])
    assert shown["reported_by"] == accepted["reported_by"] == "continue"
    assert accepted["suggestion"] == asked["suggestion"]
    assert accepted["suggestion"]["protocol"] == "mistral"
    assert (accepted["part"], accepted["chars"]) == ("full", len(ANSWER))
    assert accepted["joined"] is True


def test_continue_may_have_been_typed_into_and_cut_at_a_line(told: Told) -> None:
    ours = fill(told, suffix=SUFFIX + "# typed")
    first, _, _ = ANSWER.partition("\n")
    text: Texts = {
        "prefix": PREFIX + first[:4],
        "suffix": SUFFIX + "# typed",
        "completion": first[4:],
    }
    told.post("/v1/continue/events", autocomplete("theirs-2", accepted=False, **text), 202)
    told.wait(ours, ["requested", "shown", "dismissed"])


def test_a_stream_that_continue_left_is_found_too(told: Told) -> None:
    body = {"prompt": PREFIX + "1, ", "suffix": SUFFIX, "stream": True, "max_tokens": 4096}
    with RawClient(told.live.port, "/v1/fim/completions", body) as client:
        client.read_until(rb"SECRET|data: .*data: .*data: .*\n\n")
        ours = client.events()[0]["id"]
        got = "".join(chunk["choices"][0]["delta"]["content"] for chunk in client.events())
    told.live.wait_free()
    text: Texts = {"prefix": PREFIX + "1, ", "suffix": SUFFIX, "completion": got}
    told.post("/v1/continue/events", autocomplete("theirs-3", **text), 202)
    asked, *_ = told.wait(ours, ["requested", "shown", "accepted"])
    assert asked["outcome"] in ("cancelled", "ok")


def test_a_prompt_that_continue_laid_out_is_recognised(told: Told) -> None:
    prompt = PREFIX + "2, "
    body = {"prompt": prompt, "temperature": 0, "max_tokens": 64}
    ours = told.post("/v1/completions", body)["id"]
    text: Texts = {"prefix": "else", "suffix": "else", "prompt": prompt, "completion": ANSWER}
    told.post("/v1/continue/events", autocomplete("theirs-4", **text), 202)
    told.wait(ours, ["requested", "shown", "accepted"])


def test_a_report_that_fits_nothing_is_kept_as_unjoined(told: Told) -> None:
    before = told.unjoined("continue")
    fill(told)
    text: Texts = {"prefix": "other", "suffix": SUFFIX, "completion": ANSWER}
    told.post("/v1/continue/events", autocomplete("theirs-5", **text), 202)
    told.post("/v1/continue/events", autocomplete("theirs-6"), 202)  # the level noCode
    for name in ("theirs-5", "theirs-6"):
        _, accepted = told.wait(name, ["shown", "accepted"])
        assert accepted["joined"] is False
        assert accepted["suggestion"]["language"] == "python"
    assert told.unjoined("continue") == before + 4


def test_other_reports_of_continue_are_counted_as_other(told: Told) -> None:
    before = told.counted("other", "continue")
    body = {"name": "chatInteraction", "data": {"prompt": "SECRET_CHAT"}}
    told.post("/v1/continue/events", body, 202)
    told.post("/v1/continue/events", {"name": "editOutcome"}, 202)
    assert told.counted("other", "continue") == before + 2


@pytest.mark.parametrize(
    "body", [{}, {"name": 1}, {"name": "autocomplete"}, autocomplete("x", completion=7)], ids=str
)
def test_a_report_that_is_none_is_refused(told: Told, body: Any) -> None:
    error = told.post("/v1/continue/events", body, 400)
    assert isinstance(error["error"], str)


def test_random_reports_are_never_a_500(told: Told) -> None:
    chance = random.Random(5)
    odd: list[Any] = [None, True, -1, 1.5, 10**30, "", "a", [], {}, [1], {"after_s": 1, "share": 1}]
    for _ in range(150):
        one = event("shown", "sug-odd", choice=0, at=1, part=None, retained=None)
        one |= {field: chance.choice(odd) for field in chance.sample(sorted(one), 2)}
        answer = told.client.post("/v1/suggestions/events", json={"events": [one]})
        assert answer.status_code in (202, 400), (one, answer.text)
        data = autocomplete("odd", prefix="a", suffix="b", prompt="c", completion="d")
        inside = data["data"]
        inside |= {field: chance.choice(odd) for field in chance.sample(sorted(inside), 2)}
        data |= {chance.choice(sorted(data)): chance.choice(odd)} if chance.random() < 0.3 else {}
        answer = told.client.post("/v1/continue/events", json=data)
        assert answer.status_code in (202, 400), (data, answer.text)


def test_without_a_file_events_are_counted_only(tiny: ModelArtifact) -> None:
    with live_gateway(tiny) as live, httpx.Client(base_url=live.url) as client:
        body = {"events": [event("shown", "sug-1")]}
        assert client.post("/v1/suggestions/events", json=body).status_code == 202
        name = "tabwright_editor_events_total"
        assert live.counted(name, kind="shown", protocol="native") == 1


def shown(live: LiveGateway, *names: str) -> None:
    body = {"events": [event("shown", name) for name in names]}
    answer = httpx.post(f"{live.url}/v1/suggestions/events", json=body)
    assert answer.status_code == 202


def written(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line)["suggestion"]["id"] for line in text.splitlines() if line]


def test_what_was_taken_is_written_before_the_gateway_stops(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    names = [f"sug-{number}" for number in range(250)]
    with live_gateway(tiny, events_file=path) as live:
        shown(live, *names)
    assert written(path) == names
    with live_gateway(tiny, events_file=path) as live:
        shown(live, "sug-later")
    assert written(path) == [*names, "sug-later"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_delays_events_and_no_request(tiny: ModelArtifact, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.symlink_to("/dev/full")
    with live_gateway(tiny, events_file=path) as live:
        batch = {"events": [event("shown", "sug-1"), event("shown", "sug-2")]}
        refused = httpx.post(f"{live.url}/v1/suggestions/events", json=batch)
        assert refused.status_code == 503, "what is acknowledged is kept"
        assert "send all of them again" in refused.text
        body = {"prefix": "a", "stream": False}
        assert httpx.post(f"{live.url}/v1/suggestions", json=body).status_code == 200
        path.unlink()  # the disk has room again
        live.wait(lambda: path.exists() and len(written(path)) == 3, "all of them are written")
        assert written(path)[:2] == ["sug-1", "sug-2"]
