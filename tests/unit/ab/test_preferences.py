"""Does anything leave without the consent of whom it is from?"""

from __future__ import annotations

import json
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ab.cli import main
from ab.events import Event, Kind
from ab.flags import Arm, Flag, Rollout
from ab.preferences import Pair, Text, pairs
from ab.stores.registry import open_store
from tabwright.cli import main as tabwright

CONSENT = Flag("training", {"yes": True, "no": False}, "no", overrides={"ada": "yes"})
NOON = 1_795_262_400.0


def _events(user: str) -> list[Event]:
    return [
        Event(f"{user}1", Kind.ACCEPTED, NOON, f"{user}-good", user, part="full"),
        Event(f"{user}2", Kind.DISMISSED, NOON, f"{user}-bad", user, explicit=True),
    ]


def _texts(of: str, **changes: object) -> list[Text]:
    good = Text(f"{of}-good", of, "x = ", "\n", "a.py", "1", True)
    return [replace(text, **changes) for text in  # type: ignore[arg-type]
            (good, replace(good, suggestion=f"{of}-bad", text="2"))]  # fmt: skip


def test_a_pair_of_someone_who_agreed_is_exported() -> None:
    found = pairs(_events("ada"), _texts("ada"), CONSENT)
    assert found.pairs == [Pair("x = ", "\n", "a.py", "1", "2")]
    assert not found.left_out


@pytest.mark.parametrize(
    "consent",
    [
        replace(CONSENT, overrides={}),
        replace(CONSENT, overrides={"ada": "no"}),
        replace(CONSENT, overrides={"bob": "yes"}),
        replace(CONSENT, enabled=False),
        replace(CONSENT, overrides={}, default_variant="yes"),
        replace(CONSENT, overrides={}, targeting={"if": [True, "yes", "no"]}),
        replace(CONSENT, overrides={}, rollout=Rollout(100_000, (Arm("yes", 1),), "salt")),
    ],
    ids=["nobody", "refused", "another", "disabled", "default", "rule", "lot"],
)
def test_nothing_else_than_an_own_override_is_consent(consent: Flag) -> None:
    found = pairs(_events("ada"), _texts("ada"), consent)
    assert not found.pairs
    assert found.left_out == {"no consent": 2}


def test_what_was_not_recorded_for_training_stays() -> None:
    found = pairs(_events("ada"), _texts("ada", training=False), CONSENT)
    assert not found.pairs
    assert found.left_out == {"not recorded for training": 2}


def test_a_text_that_names_another_user_than_its_events_stays() -> None:
    assert not pairs(_events("bob"), _texts("bob", user="ada"), CONSENT).pairs
    assert not pairs(_events("ada"), _texts("ada", user="bob"), CONSENT).pairs
    shared = [*_events("ada"), replace(_events("ada")[0], user="bob", id="b")]
    assert not pairs(shared, _texts("ada"), CONSENT).pairs
    nameless = [replace(event, user="") for event in _events("ada")]
    assert not pairs(nameless, _texts("ada", user=""), CONSENT).pairs


@pytest.mark.parametrize(
    ("at", "changes"),
    [
        (0, {"part": "word"}),
        (0, {"kind": Kind.INFERRED}),
        (1, {"explicit": False}),
        (1, {"explicit": None}),
        (1, {"kind": Kind.SHOWN}),
    ],
)
def test_only_clear_verdicts_make_a_pair(at: int, changes: dict[str, object]) -> None:
    events = _events("ada")
    events[at] = replace(events[at], **changes)  # type: ignore[arg-type]
    assert not pairs(events, _texts("ada"), CONSENT).pairs


def test_what_was_mostly_removed_later_was_not_accepted() -> None:
    gone = Event("r", Kind.RETAINED, NOON, "ada-good", "ada", after_s=30, retained_share=0.1)
    assert not pairs([*_events("ada"), gone], _texts("ada"), CONSENT).pairs
    kept = replace(gone, retained_share=0.9)
    assert pairs([*_events("ada"), kept], _texts("ada"), CONSENT).pairs


def test_other_places_are_no_pair() -> None:
    for field, value in (("prefix", "y = "), ("suffix", None), ("path", "b.py"), ("text", "1")):
        good, bad = _texts("ada")
        changed = [good, replace(bad, **{field: value})]  # type: ignore[arg-type]
        assert not pairs(_events("ada"), changed, CONSENT).pairs


def test_the_command_exports_whom_the_flag_names_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = str(tmp_path / "ab.sqlite"), tmp_path / "pairs.jsonl"
    texts = tmp_path / "texts.jsonl"
    with closing(open_store(store)) as opened:
        opened.append([*_events("ada"), *_events("bob")])
    rows = [*_texts("ada"), *_texts("bob", prefix="secret = ")]
    texts.write_text("".join(json.dumps({n: getattr(t, n) for n in Text.__slots__}) + "\n"
                             for t in rows))  # fmt: skip
    verb = ["export-preferences", "--consent", "training", "--texts", str(texts),
            "--out", str(out), "--store", store, "--json"]  # fmt: skip
    assert tabwright(["ab", *verb]) == 2
    assert "flags set training" in capsys.readouterr().err
    flags = ["flags", "set", "training", "--variant", "yes=true", "--variant", "no=false"]
    assert main([*flags, "--default", "no", "--why", "test", "--store", store]) == 0
    assert main(verb) == 0
    assert out.read_text() == ""
    why = ["--why", "she said so", "--store", store]
    assert main(["flags", "override", "training", "ada", "yes", *why]) == 0
    assert main(verb) == 0
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["prefix"] == "x = "
    assert "secret" not in out.read_text()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "pairs": 1, "left_out": {"no consent": 2},
    }  # fmt: skip
    assert main(["flags", "override", "training", "ada", "no", *why]) == 0
    assert main(verb) == 0
    assert out.read_text() == ""


def test_a_wrong_line_is_named_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, texts = str(tmp_path / "ab.sqlite"), tmp_path / "texts.jsonl"
    texts.write_text('{"suggestion": "s", "user": "ada", "prefix": "my secret"}\n')
    flags = ["flags", "set", "training", "--variant", "yes=true", "--variant", "no=false"]
    assert main([*flags, "--default", "no", "--why", "test", "--store", store]) == 0
    verb = ["ab", "export-preferences", "--consent", "training", "--texts", str(texts)]
    assert tabwright([*verb, "--out", str(tmp_path / "out"), "--store", store]) == 2
    told = capsys.readouterr().err
    assert "line 1" in told
    assert "secret" not in told
