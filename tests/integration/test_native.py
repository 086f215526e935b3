"""Our own protocol: named events, wishes in the body, cancelling by id, problem details."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, RawClient, live_gateway

ANSWER = "len(items)):\n    total += items[i]\n# end"
PATH = "/v1/suggestions"
BODY: dict[str, Any] = {
    "prefix": "for i in range(",
    "suffix": "\nprint(total)\n",
    "path": "src/sum.py",
}
Body = dict[str, Any]
Events = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def live(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny, options={"answer": ANSWER}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def slow(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    options = {"answer": "x\n" * 400, "token_delay_s": 0.05}
    with live_gateway(tiny, options=options, drain_s=0.1, typeahead_mb=0) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_is_left_behind(live: LiveGateway, slow: LiveGateway) -> Iterator[None]:
    yield
    live.wait_free()
    slow.wait_free()


def post(live: LiveGateway, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    return httpx.post(live.url + PATH, json=BODY | more, headers=headers, timeout=20)


def events(text: str) -> Events:
    rows = []
    for frame in text.strip().split("\n\n"):
        name, data = frame.split("\n")
        body = json.loads(data.removeprefix("data: "))
        rows.append((name.removeprefix("event: "), body))
    return rows


def test_a_stream_is_pieces_and_one_done(live: LiveGateway) -> None:
    answer = post(live, typeahead=False)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, (last_name, done) = events(answer.text)
    assert {name for name, _ in pieces} == {"piece"}
    assert "".join(piece["text"] for _, piece in pieces) == ANSWER
    assert last_name == "done"
    assert {piece["id"] for _, piece in pieces} == {done["id"]}
    assert done["id"].startswith("sug-")
    assert (done["model"], done["source"]) == ("tiny", "engine")
    assert done["choices"] == [{"index": 0, "finish": "stop", "confidence": 0.6065}]
    assert done["usage"]["completion_tokens"] > 3
    latency = done["latency_ms"]
    assert 0 <= latency["wait"] <= latency["first_token"] <= latency["total"]


def test_an_object_says_the_same_with_the_texts(live: LiveGateway) -> None:
    (done,) = [body for name, body in events(post(live).text) if name == "done"]
    answer = post(live, stream=False).json()
    assert answer["choices"][0].pop("text") == ANSWER
    assert answer["choices"][0] == {"index": 0, "finish": "stop", "confidence": 0.6065}
    assert set(answer) == set(done)
    assert answer["usage"] == done["usage"]


def test_typing_along_is_answered_from_memory_unless_the_body_says_no(live: LiveGateway) -> None:
    post(live, suffix="\n# memory\n", stream=False)
    typed: dict[str, Any] = {
        "prefix": BODY["prefix"] + ANSWER[:4],
        "suffix": "\n# memory\n",
        "stream": False,
    }
    again = post(live, **typed).json()
    assert (again["source"], again["choices"][0]["text"]) == ("memory", ANSWER[4:])
    assert again["latency_ms"]["wait"] is None
    fresh = post(live, **typed, typeahead=False).json()
    assert fresh["source"] == "engine"


def test_the_body_comes_before_the_headers(live: LiveGateway) -> None:
    headers = {"X-Tabwright-Typeahead": "off", "X-Request-Id": "of-the-header"}
    more: Body = {"suffix": "\n# headers\n", "stream": False}
    post(live, typeahead=True, **more)
    assert post(live, headers, typeahead=True, **more).json()["source"] == "memory"
    assert post(live, headers, **more).json()["source"] == "engine"
    named = post(live, headers, request_id="of-the-body", **more)
    assert named.headers["x-request-id"] == "of-the-body"
    assert named.json()["request_id"] == "of-the-body"


def test_a_user_of_the_body_is_not_answered_with_the_texts_of_another(live: LiveGateway) -> None:
    more: Body = {"suffix": "\n# users\n", "stream": False}
    post(live, user="ada", **more)
    assert post(live, user="ada", **more).json()["source"] == "memory"
    assert post(live, user="bob", **more).json()["source"] == "engine"


def test_several_choices_are_told_apart(live: LiveGateway) -> None:
    *pieces, (_, done) = events(post(live, n=3, temperature=0.8, seed=1, max_tokens=4).text)
    assert {piece["index"] for _, piece in pieces} == {0, 1, 2}
    assert [choice["index"] for choice in done["choices"]] == [0, 1, 2]
    same = post(live, n=2, stream=False).json()["choices"]
    assert [choice["text"] for choice in same] == [ANSWER, ANSWER]


def test_length_and_stop_strings_are_kept(live: LiveGateway) -> None:
    answer = post(live, stop=["\n"], stream=False).json()["choices"][0]
    assert (answer["text"], answer["finish"]) == ("len(items)):", "stop")
    assert post(live, max_tokens=2, stream=False).json()["choices"][0]["finish"] == "length"


def test_a_delay_of_the_body_is_waited(live: LiveGateway) -> None:
    answer = post(live, eagerness={"delay_ms": 150}, typeahead=False, stream=False).json()
    assert answer["latency_ms"]["wait"] >= 140


@pytest.mark.parametrize("method", ["DELETE", "POST"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_running_suggestion_is_cancelled_by_either_id(
    slow: LiveGateway, method: str, ours: bool
) -> None:
    before = slow.cancels("requested")
    with RawClient(slow.port, PATH, BODY | {"request_id": "mine", "max_tokens": 300}) as client:
        client.read_until(rb"event: piece\ndata: \{.*\}\n\n")
        name = client.events()[0]["id"] if ours else "mine"
        path = f"{PATH}/{name}" + ("/cancel" if method == "POST" else "")
        answer = httpx.request(method, slow.url + path)
        assert answer.json() == {"cancelled": 1}
        client.read_until(rb"event: error\ndata: .*\n\n")
        error = client.events()[-1]
    assert (error["code"], error["status"], error["request_id"]) == ("requested", 499, "mine")
    assert slow.cancels("requested") == before + 1
    assert httpx.request(method, slow.url + path).json() == {"cancelled": 0}


def test_a_session_of_the_body_ends_its_older_request(slow: LiveGateway) -> None:
    with RawClient(slow.port, PATH, BODY | {"session": "window-1"}) as older:
        older.read_until(rb"event: piece")
        with RawClient(slow.port, PATH, BODY | {"session": "window-1"}) as newer:
            older.read_until(rb"event: error.*superseded")
            newer.read_until(rb"event: piece")


def test_a_deadline_of_the_body_is_kept(slow: LiveGateway) -> None:
    answer = post(slow, deadline_ms=120, stream=False)
    assert answer.status_code == 503
    assert answer.json()["code"] == "deadline_exceeded"
    assert "retry-after" in answer.headers


def test_a_wrong_method_is_a_problem_below_our_paths_too(live: LiveGateway) -> None:
    for path in ("", "/some-id", "/some-id/cancel", "/events"):
        answer = httpx.patch(live.url + PATH + path)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "method_not_allowed"


def test_problems_name_the_field(live: LiveGateway) -> None:
    answer = post(live, eagerness={"min_confidence": 2})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["field"] == "eagerness.min_confidence"
    assert problem["code"] == "invalid_request"
    assert problem["title"] == "Bad Request"
    assert problem["request_id"] is None
