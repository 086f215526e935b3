"""`tabwright ab` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.event_file import line_of
from server.telemetry import EventKind, Suggested, SuggestionEvent
from tabwright.cli import main

MAKE = ["flags", "set", "model", "--variant", "old=m1", "--variant", "new=m2", "--default", "old"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TABWRIGHT_AB_STORE", "here.sqlite")


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["ab", *words]) == code
    told = capsys.readouterr()
    return told.out if code == 0 else told.err


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(run(capsys, *words, "--json"))


def test_a_rollout_from_start_to_kill_switch(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *MAKE, "--share", "0.5", "--arm", "new=1", "--why", "begin", "--who", "ada")
    assert told(capsys, "flags", "list")[0]["rollout"]["share"] == 500
    run(capsys, "flags", "set", "model", "--share", "100", "--why", "all", "--revision", "1")
    assert json.loads(run(capsys, "flags", "try", "model", "--user", "bob"))["value"] == "m2"
    run(capsys, "flags", "override", "model", "bob", "old", "--why", "asked")
    assert json.loads(run(capsys, "flags", "try", "model", "--user", "bob"))["value"] == "m1"
    run(capsys, "flags", "override", "model", "bob", "none", "--why", "asked")
    run(capsys, "flags", "disable", "model", "--why", "slow")
    assert json.loads(run(capsys, "flags", "try", "model", "--user", "bob"))["reason"] == "DISABLED"
    run(capsys, "flags", "enable", "model", "--why", "fast")
    versions = told(capsys, "flags", "history", "model")
    assert [v["why"] for v in versions] == ["begin", "all", "asked", "asked", "slow", "fast"]
    assert versions[0]["who"] == "ada"
    assert Path("here.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["flags", "show", "nothing"], "known: model"),
        (["flags", "set", "new-one", "--share", "5", "--why", "x"], "--arm"),
        (["flags", "set", "model", "--share", "101", "--why", "x"], "0 to 100"),
        (["flags", "set", "model", "--share", "0.0001", "--why", "x"], "three decimals"),
        (["flags", "set", "model", "--share", "nan", "--why", "x"], "0 to 100"),
        (["flags", "set", "model", "--arm", "new=x", "--why", "x"], "no weight"),
        (["flags", "set", "model", "--arm", "none=1", "--reshuffle", "--why", "x"], "one of"),
        (["flags", "set", "model", "--arm", "new=0", "--reshuffle", "--why", "x"], "weights"),
        (["flags", "set", "model", "--arm", "old=1", "--why", "x"], "--reshuffle"),
        (["flags", "set", "model", "--targeting", "{", "--why", "x"], "JSON"),
        (["flags", "set", "model", "--slot", "5", "--why", "x"], "models:0-50"),
        (["flags", "set", "model", "--share", "50", "--why", "x", "--revision", "7"], "it is 1"),
        (["flags", "override", "model", "ada", "none-such", "--why", "x"], "one of"),
        (["flags", "import", "nothing.json", "--why", "x"], "cannot be read"),
        (["ingest", "nothing.jsonl"], "cannot be read"),
        (["report", "--control", "a", "--candidate", "b", "--since", "2026-11-02",
          "--until", "2026-11-01"], "in order"),
        (["report", "--control", "a", "--candidate", "b", "--since", "2026-11-02",
          "--weights", "1"], "90:10"),
    ],
)  # fmt: skip
def test_wrong_use_is_told(capsys: pytest.CaptureFixture[str], words: list[str], word: str) -> None:
    run(capsys, *MAKE, "--share", "5", "--arm", "new=1", "--why", "begin")
    assert word in run(capsys, *words, code=2)
    assert told(capsys, "flags", "list")[0]["revision"] == 1


def test_flags_move_to_flagd_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *MAKE, "--slot", "l:0-50", "--targeting", '{"var": "cohort"}', "--why", "begin")
    Path("flags.json").write_text(run(capsys, "flags", "export"), encoding="utf-8")
    there = ["--store", "there.sqlite"]
    run(capsys, "flags", "import", "flags.json", "--why", "move", *there)
    assert run(capsys, "flags", "import", "flags.json", "--why", "again", *there) == ""
    assert run(capsys, "flags", "export", *there) == Path("flags.json").read_text(encoding="utf-8")


def events() -> bytes:
    about = [Suggested(f"s{n}", "native", "", f"u{n % 8}", "go", f"m{n % 2}") for n in range(64)]
    lines = [
        line_of(SuggestionEvent(f"{kind}{n}", kind, 1_700_000_000.0 + n, one))
        for n, one in enumerate(about)
        for kind in (EventKind.REQUESTED, EventKind.SHOWN, EventKind.ACCEPTED)
        if kind is not EventKind.ACCEPTED or n % 3 == 0
    ]
    return b"".join(lines)


def test_events_are_counted_once_reported_and_erased(capsys: pytest.CaptureFixture[str]) -> None:
    Path("events.jsonl").write_bytes(events())
    first = told(capsys, "ingest", "events.jsonl")
    assert first == {"read": 150, "new": 150, "known": 0, "refused": 0}
    assert told(capsys, "ingest", "events.jsonl")["new"] == 0
    asked = ["report", "--control", "m0", "--candidate", "m1", "--since", "2023-11-14"]
    report = told(capsys, *asked)
    assert report["users"] == [4, 4]
    assert "acceptance" in run(capsys, *asked)
    erased = told(capsys, "purge", "--user", "u1")
    assert erased == {"suggestions": 8, "archived_events": 0, "waiting_bytes": 0}
    assert told(capsys, *asked)["users"] == [4, 3]


def test_lines_that_are_no_events_are_told_and_the_others_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("events.jsonl").write_bytes(b"rubbish\n" + events())
    assert "line 1" in run(capsys, "ingest", "events.jsonl", code=1)
    Path("events.jsonl").write_bytes(events())
    assert told(capsys, "ingest", "events.jsonl")["known"] == 150


def evals(folder: str, passed: int) -> str:
    rows = {f"t{n}": {"passed": int(n < passed), "failed": int(n >= passed)} for n in range(100)}
    Path(folder).mkdir()
    Path(folder, "report.json").write_text(
        json.dumps({"benchmark": "web", "languages": {"html": {"by_task": rows}}})
    )
    return folder


def test_a_candidate_climbs_as_far_as_its_gates_let_it(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *MAKE, "--why", "begin")
    asked = ["model", "--candidate", "new", "--who", "eve"]
    assert main(["ab", "gate", *asked, "--dry-run"]) == 1
    assert "pass@k: not given" in capsys.readouterr().out
    asked += ["--evals", evals("one", 30), evals("two", 30)]
    assert told(capsys, "gate", *asked)["verdict"] == "PROMOTE"
    assert told(capsys, "promote", *asked)["revision_written"] == 2
    assert told(capsys, "flags", "show", "model")["rollout"]["share"] == 1000
    assert main(["ab", "promote", *asked]) == 1
    assert "time: 0 whole days" in capsys.readouterr().out
    assert "--why" in run(capsys, "promote", *asked, "--force", code=2)
    run(capsys, "promote", *asked, "--force", "--why", "it is urgent")
    assert told(capsys, "flags", "show", "model")["rollout"]["share"] == 5000
    run(capsys, "rollback", *asked, "--why", "it is rude")
    last = told(capsys, "flags", "history", "model")[-1]
    kept = told(capsys, "decisions", "model")
    assert last["rollout"]["share"] == 0
    assert last["who"] == "eve"
    assert last["why"] == f"decision {kept[-1]['id']}: ROLL_BACK, nobody; it is rude"
    verdicts = [(one["verdict"], one["by_hand"]) for one in kept]
    assert verdicts == [("PROMOTE", False), ("PROMOTE", False), ("HOLD", False),
                        ("PROMOTE", True), ("ROLL_BACK", True)]  # fmt: skip
    assert kept[0]["id"] in run(capsys, "decisions")
    for one in kept:
        assert "the same" in run(capsys, "gate", "--replay", one["id"])
    assert told(capsys, "gate", "--replay", kept[0]["id"])["differences"] == []


def test_wrong_use_of_gates_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *MAKE, "--why", "begin")
    asked = ["model", "--candidate", "new"]
    assert "--candidate" in run(capsys, "gate", "model", code=2)
    assert "0 decisions" in run(capsys, "gate", "--replay", "ff", code=2)
    assert "--why" in run(capsys, "rollback", *asked, code=2)
    assert "above 0" in run(capsys, "watch", *asked, "--every", "0", code=2)
    Path("bad").mkdir()
    Path("bad/report.json").write_text("[]")
    assert "no report" in run(capsys, "gate", *asked, "--evals", "bad", "bad", code=2)
    assert "finished runs" in run(capsys, "gate", *asked, "--evals", "no", "no", code=2)
    assert told(capsys, "decisions") == []


def test_a_watch_ends_with_a_rollback_or_at_the_top(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *MAKE, "--share", "5", "--arm", "new=1", "--why", "begin")
    asked = ["watch", "model", "--candidate", "new", "--every", "0.01"]
    asked += ["--evals", evals("good", 40), evals("bad", 10)]
    assert main(["ab", *asked, "--dry-run"]) == 5
    capsys.readouterr()
    assert told(capsys, "decisions") == []
    assert main(["ab", *asked]) == 5
    assert "pass@1 -0.300" in capsys.readouterr().out
    assert told(capsys, "flags", "show", "model")["rollout"]["share"] == 0
    run(capsys, "flags", "set", "model", "--share", "none", "--default", "new", "--why", "all")
    Path("gates.toml").write_text("[ladder]\nguard_days = 0\n")
    asked[-2:] = ["good", "good", "--gates", "gates.toml"]
    assert main(["ab", *asked, "--json"]) == 0
    verdicts = [one["verdict"] for one in json.loads(f"[{capsys.readouterr().out}]")]
    assert verdicts == ["HOLD"]


def test_a_flag_is_put_away_and_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *MAKE, "--slot", "models:0-50", "--why", "begin")
    other = ["flags", "set", "other", "--variant", "a=1", "--default", "a", "--why", "next"]
    other += ["--slot", "models:0-60"]
    assert "overlap" in run(capsys, *other, code=2)
    run(capsys, "flags", "archive", "model", "--why", "it has won")
    assert told(capsys, "flags", "list") == []
    shown = told(capsys, "flags", "list", "--all")[0]
    assert (shown["key"], shown["archived"], shown["enabled"]) == ("model", True, False)
    assert "restore it first" in run(capsys, "flags", "enable", "model", "--why", "x", code=2)
    assert json.loads(run(capsys, "flags", "export"))["flags"] == {}
    run(capsys, *other)
    assert "overlap" in run(capsys, "flags", "restore", "model", "--why", "x", code=2)
    run(capsys, "flags", "set", "other", "--slot", "none", "--why", "free")
    run(capsys, "flags", "restore", "model", "--why", "again")
    flags = {flag["key"]: flag for flag in told(capsys, "flags", "list")}
    assert flags["model"]["enabled"] is False
    assert "archived" not in flags["model"]


def test_a_team_tries_the_statistics_on_itself(capsys: pytest.CaptureFixture[str]) -> None:
    Path("events.jsonl").write_bytes(events())
    run(capsys, "ingest", "events.jsonl")
    days = ["--since", "2023-11-14", "--until", "2023-11-15", "--splits", "20"]
    found = told(capsys, "aa", *days)
    assert (found["users"], found["looks"], found["passed"]) == (8, 2, True)
    assert "8 users, 2 daily looks" in run(capsys, "aa", *days)
    assert main(["ab", "aa", "--splits", "5"]) == 1
    assert "too few" in capsys.readouterr().out
    assert "in order" in run(capsys, "aa", "--splits", "0", code=2)


def test_a_report_is_written_as_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    Path("events.jsonl").write_bytes(events())
    run(capsys, "ingest", "events.jsonl")
    asked = ["report", "--control", "m0", "--candidate", "m1", "--since", "2023-11-14",
             "--until", "2023-11-15"]  # fmt: skip
    found = told(capsys, *asked, "--html", "page.html")
    assert "m1 against m0" in Path("page.html").read_text(encoding="utf-8")
    assert len(found["details"]["series"]["acceptance"]) == 2
    assert found["details"]["languages"][0]["group"] == "go"
    assert "cannot be written" in run(capsys, *asked, "--html", "no/page.html", code=2)
