"""Keys: made so that nobody guesses them, kept without their secret, replaced whole."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.caller import Eagerness, KeyScope, Lines
from server.keys import DEFAULT_SCOPES, ApiKey, KeyRing, digest_of, new_token
from server.keys_cli import main
from server.keys_file import read_keys, write_keys
from server.rates import Rate
from tabwright.errors import CallerError, ConfigError

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def a_key(token: str, key_id: str, **more: object) -> ApiKey:
    base = ApiKey(key_id, digest_of(token), "alice", DEFAULT_SCOPES, NOW)
    return ApiKey(**{name: getattr(base, name) for name in ApiKey.__slots__} | more)


def test_tokens_are_all_different_and_show_only_their_id() -> None:
    made = [new_token() for _ in range(200)]
    assert len({each.token for each in made}) == len({each.digest for each in made}) == 200
    for each in made:
        prefix, key_id, secret = each.token.split("_")
        assert (prefix, key_id) == ("tw", each.id)
        assert len(secret) == 40
        assert secret not in each.digest


@pytest.mark.parametrize("wrong", ["", "tw_", "x", "tw__", "é", "tw_é_é"])
def test_only_the_whole_token_finds_its_caller(wrong: str) -> None:
    made, other = new_token(), new_token()
    ring = KeyRing([a_key(made.token, made.id, rate=Rate(1, 2))])
    found = ring.find(made.token)
    assert found is not None
    caller = found.caller(Eagerness())
    assert (caller.key, caller.user, caller.rate) == (made.id, "alice", Rate(1, 2))
    for token in (wrong, made.token + "x", made.token[:-1], other.token, made.id, made.digest):
        assert ring.find(token) is None


def test_wishes_that_a_key_lacks_are_those_of_the_settings() -> None:
    made = new_token()
    caller = a_key(made.token, made.id, lines=Lines.SINGLE).caller(Eagerness(75, 0.5))
    assert caller.eagerness == Eagerness(75, 0.5, Lines.SINGLE)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    full = a_key(
        "x",
        "00000001",
        scopes=frozenset(KeyScope),
        expires_at=NOW,
        revoked_at=NOW,
        rate=Rate(0.5, 7),
        delay_ms=75.0,
        min_confidence=0.25,
        lines=Lines.MULTI,
    )
    keys = [a_key("y", "00000002", name="größe"), full]
    write_keys(tmp_path / "keys.jsonl", keys)
    assert read_keys(tmp_path / "keys.jsonl") == keys


GOOD = {
    "id": "3f9c01ab",
    "digest": "a" * 64,
    "name": "n",
    "scopes": ["complete"],
    "created_at": "2026-11-21T00:00:00Z",
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": "XYZ"},
        {"digest": "5ecret" * 10},
        {"name": ""},
        {"scopes": []},
        {"scopes": ["all"]},
        {"created_at": "2026-11-21T00:00:00"},
        {"rate_per_s": 0},
        {"burst": 0},
        {"delay_ms": 1e9},
        {"min_confidence": 2},
        {"lines": "some"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_wrong_line_is_named_and_not_shown(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "keys.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(GOOD | {"id": "00000000"} | change))
    with pytest.raises(ConfigError, match=f"line 3: {next(iter(change))}") as caught:
        read_keys(path)
    assert "5ecret" not in str(caught.value)
    assert "a" * 64 not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.jsonl"
    write_keys(path, [a_key("x", "00000001")])
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_keys(path, [])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_commands_at_the_same_time_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "keys.jsonl")

    def create(worker: int) -> None:
        for number in range(5):
            main(["create", "--name", f"{worker}-{number}", "--keys-file", path])

    workers = [threading.Thread(target=create, args=(worker,)) for worker in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read_keys(Path(path))) == 30
    tokens = capsys.readouterr().out.split()
    assert len(set(tokens)) == 30
    assert main(["list", "--keys-file", path]) == 0
    shown = capsys.readouterr().out
    for token in tokens:
        assert token not in shown
        assert digest_of(token) not in shown


def test_set_changes_what_it_is_told_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.jsonl"
    more = ["--keys-file", str(file)]
    main(["create", "--name", "a", "--rate", "10/s", "--expires", "1h", *more])
    (made,) = read_keys(file)
    main(["set", made.id, "--burst", "3", "--scopes", "events", *more])
    main(["set", made.id, "--expires", "none", "--delay-ms", "75", *more])
    (changed,) = read_keys(file)
    assert changed.rate == Rate(10, 3)
    assert changed.scopes == {KeyScope.EVENTS}
    assert (changed.expires_at, changed.delay_ms) == (None, 75)
    assert (changed.id, changed.digest, changed.name) == (made.id, made.digest, made.name)
    main(["revoke", made.id, *more])
    capsys.readouterr()
    assert main(["list", "--json", *more]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "revoked"
    assert "digest" not in row


@pytest.mark.parametrize(
    "words",
    [
        ["--scopes", "all"],
        ["--scopes", ""],
        ["--rate", "fast"],
        ["--rate", "0/s"],
        ["--burst", "3"],
        ["--rate", "1/s", "--burst", "-1"],
        ["--expires", "0d"],
        ["--expires", "soon"],
        ["--delay-ms", "9999"],
        ["--min-confidence", "2"],
        ["--lines", "some"],
        ["--name", ""],
        ["--name", "a\nb"],
        ["--name", "a" * 129],
    ],
    ids=" ".join,
)
def test_a_wrong_option_makes_no_key(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "keys.jsonl"
    with pytest.raises(CallerError):
        main(["create", "--name", "a", *words, "--keys-file", str(path)])
    assert not path.exists()


def test_the_file_of_the_settings_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="keys_file"):
        main(["list"])
    monkeypatch.setenv("TABWRIGHT_SERVER_KEYS_FILE", str(tmp_path / "sub" / "keys.jsonl"))
    main(["create", "--name", "a"])
    assert (tmp_path / "sub" / "keys.jsonl").exists()
