"""Who may come in, over a real socket: keys in a file that changes, scopes, rates, web pages."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.keys_cli import main
from server.keys_file import read_keys
from tabwright.artifact import ModelArtifact
from tests.fakes.live_gateway import LiveGateway, RawClient, live_gateway

SLOW = {"answer": "x\n" * 400, "token_delay_s": 0.05}
BODY = {"prompt": "a", "suffix": "b", "max_tokens": 8, "temperature": 0}
LONG = BODY | {"max_tokens": 24}


class Keys:
    """A keys file and the command that changes it."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def run(self, *words: str) -> Any:
        assert main([*words, "--keys-file", str(self.path), "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)

    def create(self, name: str, *words: str) -> tuple[str, str]:
        made = self.run("create", "--name", name, *words)
        return made["id"], made["token"]


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    return Keys(tmp_path / "keys.jsonl", capsys)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(
    live: LiveGateway, path: str, body: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    return httpx.post(live.url + path, json=body, headers=headers, timeout=20)


def complete(live: LiveGateway, headers: dict[str, str] | None = None) -> httpx.Response:
    return post(live, "/v1/completions", BODY, headers)


def test_a_key_comes_into_force_and_is_revoked_while_requests_run(
    tiny: ModelArtifact, keys: Keys
) -> None:
    _, alice = keys.create("alice")
    with live_gateway(tiny, options=SLOW, keys_file=keys.path, typeahead_mb=0, drain_s=0.1) as live:
        assert complete(live).status_code == 401
        assert complete(live, bearer(alice)).status_code == 200
        assert complete(live, {"x-api-key": alice}).status_code == 200
        both = {"Authorization": "Bearer ", "X-Api-Key": alice}  # httpx sends no empty bearer
        with RawClient(live.port, "/v1/completions", BODY, both) as client:
            assert client.read_answer()[0] == 200
        assert complete(live, bearer(alice[:-1])).status_code == 401
        assert complete(live, bearer(alice + "x")).status_code == 401

        key_id, bob = keys.create("bob")
        live.wait(lambda: complete(live, bearer(bob)).status_code == 200, "bob's key is read")
        with RawClient(live.port, "/v1/completions", LONG, bearer(bob)) as running:
            live.wait(lambda: live.engine.stats().running == 1, "bob's request runs")
            keys.run("revoke", key_id)
            live.wait(lambda: complete(live, bearer(bob)).status_code == 401, "bob is out")
            assert running.read_answer()[0] == 200
        assert complete(live, bearer(alice)).status_code == 200


def test_a_broken_file_keeps_the_last_good_one_and_says_so(
    tiny: ModelArtifact, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    _, alice = keys.create("alice")
    good = keys.path.read_bytes()
    with live_gateway(tiny, keys_file=keys.path) as live, caplog.at_level(logging.ERROR):
        for broken in (good[:-9], b"{}\n", good + good, b"\xff", None):
            caplog.clear()
            keys.path.unlink() if broken is None else keys.path.write_bytes(broken)
            live.wait(lambda: "BROKEN" in caplog.text, "it is logged")
            assert "line" in caplog.text or "No such file" in caplog.text
            assert read_digest(good) not in caplog.text
            assert complete(live, bearer(alice)).status_code == 200
        keys.path.write_bytes(b"")  # whole, and of nobody
        live.wait(lambda: complete(live, bearer(alice)).status_code == 401, "nobody has a key")


def read_digest(raw: bytes) -> str:
    return str(json.loads(raw)["digest"])


def test_an_expired_key_is_out(tiny: ModelArtifact, keys: Keys) -> None:
    _, alice = keys.create("alice", "--expires", "90d")
    with live_gateway(tiny, keys_file=keys.path) as live:
        assert complete(live, bearer(alice)).status_code == 200
        row = json.loads(keys.path.read_bytes())
        row["expires_at"] = "2020-01-01T00:00:00Z"
        keys.path.write_text(json.dumps(row))
        live.wait(lambda: complete(live, bearer(alice)).status_code == 401, "it is over")


EVENT = {"type": "view", "completion_id": "x", "choice_index": 0}


def test_a_key_is_good_for_its_scopes_only(tiny: ModelArtifact, keys: Keys) -> None:
    _, editor = keys.create("editor")
    _, completing = keys.create("completing", "--scopes", "complete")
    _, reporting = keys.create("reporting", "--scopes", "events")
    asked = (("/v1/completions", BODY), ("/v1/events", EVENT))
    with live_gateway(tiny, keys_file=keys.path, api_key="all") as live:
        for token, statuses in (
            (editor, [200, 200]),
            (completing, [200, 403]),
            (reporting, [403, 200]),
            ("all", [200, 200]),
        ):
            found = [post(live, path, body, bearer(token)).status_code for path, body in asked]
            assert found == statuses
        answer = post(live, "/v1/events", EVENT, bearer(completing))
        assert "'events'" in answer.json()["error"], "Tabby's dialect"
        answer = complete(live, bearer(reporting))
        assert answer.json()["error"]["type"] == "permission_error"
        assert httpx.get(f"{live.url}/v1/health", headers=bearer(editor)).status_code == 200


def test_only_ones_own_requests_are_cancelled_and_superseded(
    tiny: ModelArtifact, keys: Keys
) -> None:
    _, alice = keys.create("alice")
    _, bob = keys.create("bob")
    _, admin = keys.create("root", "--scopes", "complete,admin")
    names = {"X-Request-Id": "mine", "X-Tabwright-Session": "window"}
    with live_gateway(tiny, options=SLOW, keys_file=keys.path, typeahead_mb=0, drain_s=0.1) as live:
        for other in (bearer(bob), bearer(alice) | {"X-Tabwright-User": "b"}):
            with RawClient(live.port, "/v1/completions", LONG, bearer(alice) | names) as client:
                live.wait(lambda: live.engine.stats().running == 1, "it runs")
                path = "/v1/completions/mine/cancel"
                if other == bearer(bob):
                    assert post(live, path, {}, other).json() == {"cancelled": 0}
                assert complete(live, other | names).status_code == 200
                assert client.read_answer()[0] == 200
        for who in (alice, admin):
            with RawClient(live.port, "/v1/completions", LONG, bearer(alice) | names) as client:
                live.wait(lambda: live.engine.stats().running == 1, "it runs")
                assert post(live, path, {}, bearer(who)).json() == {"cancelled": 1}
                assert client.read_answer()[0] == 499


def test_only_ones_own_suggestions_are_cancelled_and_reported_on(
    tiny: ModelArtifact, keys: Keys
) -> None:
    alice_id, alice = keys.create("alice")
    _, bob = keys.create("bob")
    path = keys.path.with_name("events.jsonl")
    body = {"prefix": "a", "request_id": "mine", "user": "ada"}
    with live_gateway(
        tiny, options=SLOW, keys_file=keys.path, drain_s=0.1, events_file=path
    ) as live:
        with RawClient(live.port, "/v1/suggestions", body, bearer(alice)) as client:
            client.read_until(rb"event: piece.*}\n\n")
            suggestion = client.events()[0]["id"]
            for token, count in ((bob, 0), (alice, 1)):
                address = f"{live.url}/v1/suggestions/{suggestion}"
                answer = httpx.delete(address, headers=bearer(token))
                assert answer.json() == {"cancelled": count}
        live.wait_free()
        event = {"id": "1", "suggestion_id": suggestion, "kind": "shown"}
        for token, receipt in ((bob, "unknown"), (alice, "counted"), (alice, "repeated")):
            answer = post(live, "/v1/suggestions/events", {"events": [event]}, bearer(token))
            assert answer.json()[receipt] == 1
    rows = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
    told = [(row["kind"], row["joined"], row["suggestion"]["user"]) for row in rows]
    assert told == [("requested", True, "ada"), ("shown", False, "bob"), ("shown", True, "ada")]
    assert rows[0]["suggestion"]["key"] == rows[2]["suggestion"]["key"] == alice_id
    assert alice not in path.read_text(encoding="utf-8")


def test_a_rate_is_429_with_the_time_to_wait_and_memory_costs_nothing(
    tiny: ModelArtifact, keys: Keys
) -> None:
    _, alice = keys.create("alice", "--rate", "2/m", "--burst", "2")
    _, bob = keys.create("bob")
    with live_gateway(tiny, keys_file=keys.path, options={"answer": "abc\n"}) as live:
        ask = {"prompt": "p", "suffix": "", "max_tokens": 4, "temperature": 0, "n": 3}
        for _ in range(4):
            assert post(live, "/v1/completions", ask, bearer(alice)).status_code == 200
        several = BODY | {"n": 3, "temperature": 1}
        assert post(live, "/v1/completions", several, bearer(alice)).status_code == 200
        refused = complete(live, bearer(alice))
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 25 <= int(refused.headers["retry-after"]) <= 30
        wait_ms = int(refused.headers["retry-after-ms"])
        assert int(refused.headers["retry-after"]) - 1 <= wait_ms / 1000 <= 30
        assert complete(live, bearer(bob)).status_code == 200


def test_who_waits_as_long_as_told_is_let_in(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, rate_per_s=0.4, rate_burst=1, typeahead_mb=0) as live:
        complete(live)
        refused = complete(live)
        assert refused.status_code == 429
        time.sleep(int(refused.headers["retry-after-ms"]) / 1000)
        assert complete(live).status_code == 200
        several = [complete(live, {"X-Tabwright-User": f"u{n}"}).status_code for n in range(3)]
        assert several == [200, 200, 200]


@pytest.fixture(scope="module")
def local(tiny: ModelArtifact) -> Iterator[LiveGateway]:
    with live_gateway(tiny) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8123"}, 200),
        ({"Host": "[::1]:8123"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "host.docker.internal:8123"}, 200),
        ({"Host": "gateway"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8123", "Origin": "http://evil.example:8123"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost:8123", "Origin": "http://localhost:8123"}, 200),
        ({"Host": "localhost:8123", "Origin": "vscode-webview://abc"}, 200),
        ({"Host": "localhost:8123", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost:8123", "Origin": "null"}, 403),
        ({"Host": "localhost:8123", "Origin": "http://localhost:3000"}, 403),
    ],
)
def test_web_pages_of_others_may_not_use_a_gateway_without_a_key(
    local: LiveGateway, headers: dict[str, str], status: int
) -> None:
    plain = {"Content-Type": "text/plain"}  # what a page may send without asking
    answer = httpx.post(
        f"{local.url}/v1/completions", content=json.dumps(BODY), headers=headers | plain
    )
    assert answer.status_code == status, answer.text
    assert "access-control-allow-origin" not in answer.headers
    if status == 403:
        assert answer.json()["error"]["code"] == "forbidden"


PAGE = {"Origin": "https://ide.example.org"}


def test_a_page_that_is_named_may_call_and_read(tiny: ModelArtifact, keys: Keys) -> None:
    _, alice = keys.create("alice")
    ask = PAGE | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-tabwright-session",
    }
    for keys_file in (None, keys.path):
        with live_gateway(tiny, cors_origins=[PAGE["Origin"]], keys_file=keys_file) as live:
            url = f"{live.url}/v1/completions"
            allowed = httpx.options(url, headers=ask)
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == PAGE["Origin"]
            assert "x-tabwright-session" in allowed.headers["access-control-allow-headers"]
            assert "access-control-allow-credentials" not in allowed.headers
            answer = complete(live, PAGE | bearer(alice))
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == PAGE["Origin"]
            foreign = httpx.options(url, headers=ask | {"Origin": "https://evil.example"})
            assert foreign.status_code == 400
            assert "access-control-allow-origin" not in foreign.headers


def test_without_the_setting_no_page_is_told_that_it_may(local: LiveGateway) -> None:
    ask = PAGE | {"Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{local.url}/v1/completions", headers=ask)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_open_gateway_tells_callers_apart_by_address(tiny: ModelArtifact) -> None:
    with live_gateway(tiny, host="0.0.0.0", allow_open=True) as live:
        forwarded = {"X-Forwarded-For": "192.0.2.7"}  # as a proxy on this machine says
        sources = []
        for address, headers in (
            ("127.0.0.1", {}),
            ("127.0.0.2", {}),
            ("127.0.0.2", forwarded),  # from an address that is not believed
            ("127.0.0.1", forwarded),
            ("127.0.0.1", forwarded),
            ("127.0.0.1", forwarded | {"X-Tabwright-User": "ann"}),
        ):
            transport = httpx.HTTPTransport(local_address=address)
            with httpx.Client(transport=transport, headers=headers) as client:
                answer = client.post(f"{live.url}/v1/completions", json=BODY)
                assert answer.status_code == 200
            sources.append(live.counted("tabwright_suggestions_total", source="memory"))
        assert sources == [0, 0, 1, 1, 2, 2]


def test_a_stranger_is_no_administrator(tiny: ModelArtifact) -> None:
    names = {"X-Request-Id": "mine"}
    with (
        live_gateway(tiny, options=SLOW, host="0.0.0.0", allow_open=True, drain_s=0.1) as live,
        RawClient(live.port, "/v1/completions", LONG, names) as client,
    ):
        live.wait(lambda: live.engine.stats().running == 1, "it runs")
        url = f"{live.url}/v1/completions/mine/cancel"
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as stranger:
            assert stranger.post(url, json={}).json() == {"cancelled": 0}
        assert client.read_answer()[0] == 200


def test_a_guess_costs_its_user_nothing(tiny: ModelArtifact) -> None:
    with live_gateway(
        tiny, options={"answer": "ab"}, speculate=True, rate_per_s=0.01, rate_burst=2
    ) as live:
        assert post(live, "/v1/completions", BODY).status_code == 200
        live.wait(lambda: live.engine.stats().generated_tokens >= 4, "it guesses on")
        live.wait(lambda: live.held() == 0, "it is done")
        assert post(live, "/v1/completions", BODY | {"prompt": "other"}).status_code == 200
        assert post(live, "/v1/completions", BODY | {"prompt": "third"}).status_code == 429


DELAYED = {"X-Tabwright-Session": "window", "X-Tabwright-Delay-Ms": "1500"}


def test_a_newer_keystroke_within_the_delay_spares_the_engine_the_older(
    tiny: ModelArtifact,
) -> None:
    with live_gateway(tiny, options={"answer": "abc\n"}) as live:
        clients: list[RawClient] = []
        inflight = live.gateway.reception.inflight
        for text in ("d", "de", "def"):
            body, names = BODY | {"prompt": text}, DELAYED | {"X-Request-Id": text}
            clients.append(RawClient(live.port, "/v1/completions", body, names))
            live.wait(partial(inflight.find, text), "it is there")
        assert [client.read_answer()[0] for client in clients] == [499, 499, 200]
        assert live.cancels("superseded") == 2
        assert live.counted("tabwright_suggestions_total", source="engine") == 1
        assert live.engine.stats().generated_tokens <= 8, "of one answer"
        started = time.perf_counter()
        assert post(live, "/v1/completions", BODY | {"prompt": "def"}, DELAYED).status_code == 200
        assert time.perf_counter() - started < 1.4, "memory waits for nobody"
        for client in clients:
            client.close()


def test_the_delay_of_a_key_is_its_default(tiny: ModelArtifact, keys: Keys) -> None:
    _, patient = keys.create("patient", "--delay-ms", "600")
    _, eager = keys.create("eager")
    with live_gateway(tiny, keys_file=keys.path, typeahead_mb=0) as live:

        def seconds(headers: dict[str, str]) -> float:
            started = time.perf_counter()
            assert complete(live, headers).status_code == 200
            return time.perf_counter() - started

        assert seconds(bearer(patient)) >= 0.6
        assert seconds(bearer(patient) | {"X-Tabwright-Delay-Ms": "0"}) < 0.6
        assert seconds(bearer(eager)) < 0.6


def test_a_key_says_how_long_and_how_sure_its_suggestions_are(
    tiny: ModelArtifact, keys: Keys
) -> None:
    key_id, alice = keys.create("alice", "--lines", "multi")
    answer = "(a):\n    return a\n"
    body = {"prompt": "def f", "suffix": "\n", "max_tokens": 60, "temperature": 0}
    with live_gateway(
        tiny, options={"answer": answer}, keys_file=keys.path, postprocess="v1"
    ) as live:

        def shown(**more: str) -> str:
            found = post(live, "/v1/completions", body, bearer(alice) | more)
            return str(found.json()["choices"][0]["text"])

        long = shown()
        assert "return" in long
        keys.run("set", key_id, "--lines", "single")
        live.wait(lambda: shown() == "(a):", "one line")
        keys.run("set", key_id, "--min-confidence", "1")
        live.wait(lambda: shown() == "", "nothing is so sure")
        assert shown(**{"X-Tabwright-Min-Confidence": "0"}) == "(a):"
        keys.run("set", key_id, "--min-confidence", "none", "--lines", "none")
        live.wait(lambda: shown(**{"X-Tabwright-Lines": "multi"}) == long, "as the settings say")


def test_serve_refuses_to_start_without_its_keys_file(tmp_path: Path) -> None:
    code = "import sys; from tabwright.cli import main; sys.exit(main())"
    path = tmp_path / "none.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--engine", "scripted", "--keys-file", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_is_its_owners_only(keys: Keys) -> None:
    _, token = keys.create("alice")
    keys.create("bob")
    assert keys.path.stat().st_mode & 0o777 == 0o600
    assert token not in keys.path.read_text()
    assert [key.name for key in read_keys(keys.path)] == ["alice", "bob"]
    assert [path.name for path in keys.path.parent.iterdir()] == [keys.path.name]
