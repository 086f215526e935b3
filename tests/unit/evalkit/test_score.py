"""From verdicts to a score, and to a page that shows texts as texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from evalkit.commands.passk import threshold
from evalkit.commands.report import table
from evalkit.contamination import Contamination
from evalkit.page import render
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.reporting import generation_times, language_row
from evalkit.runs import RunFolder
from evalkit.score import score, tally, totals, within
from tabwright.errors import InvalidRequest

PROBLEMS = [Problem(f"t/{n}", "python", "") for n in range(3)]


def verdicts(*rows: str) -> Iterator[Verdict]:
    letters = {"p": Outcome.PASSED, "w": Outcome.WRONG, "u": Outcome.UNJUDGED}
    for number, row in enumerate(rows):
        for index, letter in enumerate(row):
            yield Verdict(f"t/{number}", index, letters[letter])


def test_unjudged_samples_are_counted_and_left_out() -> None:
    row = score(PROBLEMS, tally(verdicts("ppww", "uuuw", "uuuu")), [1, 2])
    assert (row["tasks"], row["samples"], row["passed"]) == (3, 12, 2)
    assert (row["failed"], row["unjudged"]) == (3, 7)
    assert row["pass_at_k"]["1"]["value"] == pytest.approx((0.5 + 0.0) / 2)
    assert row["pass_at_k"]["1"]["left_out"] == 1
    assert row["pass_at_k"]["2"]["value"] == pytest.approx(1 - 1 / 6)
    assert row["pass_at_k"]["2"]["left_out"] == 2
    assert row["outcomes"] == {"passed": 2, "wrong": 3, "unjudged": 7}


def within_300(times: Mapping[str, Sequence[float]]) -> list[Outcome]:
    return [verdict.outcome for verdict in within(verdicts("pppp"), times, 300)]


def test_a_pass_that_took_too_long_is_no_pass_within_the_time() -> None:
    times = generation_times([Sample("t/0", 3, "", 50.0), Sample("t/0", 0, "", 100.0)])
    assert within_300(times) == [Outcome.PASSED, *[Outcome.UNJUDGED] * 2, Outcome.PASSED]
    times = generation_times([Sample("t/0", n, "", took) for n, took in enumerate((100.0, 500.0))])
    assert within_300(times) == [Outcome.PASSED, Outcome.WALL_TIME, *[Outcome.UNJUDGED] * 2]


def test_a_threshold_is_read_or_refused() -> None:
    assert threshold("pass@10=0.3") == ("10", 0.3)
    assert threshold(None) is None
    for text in ("pass@1", "0.3", "pass@x=0.3", "pass@1=high", "pass@1=2", "pass@1=nan"):
        with pytest.raises(InvalidRequest, match="fail-under"):
            threshold(text)


def test_tasks_met_in_training_are_named_and_left_out_of_a_second_score(tmp_path: Path) -> None:
    listed = tmp_path / "contamination.json"
    rows = [
        {"benchmark": "b", "task_id": "t/0", "kind": "solution", "evidence": ["d1"]},
        {"benchmark": "other", "task_id": "t/1", "kind": "prompt", "evidence": []},
        {"benchmark": "b", "task_id": "not asked", "kind": "prompt"},
    ]
    listed.write_text(json.dumps({"hits": rows}), encoding="utf-8")
    with RunFolder(tmp_path / "run", {}) as run:
        for verdict in verdicts("pp", "ww", "pw"):
            run.add_verdict(verdict)
        row = language_row(run, PROBLEMS, [1], contamination=Contamination.read(listed, "b"))
    assert row["pass_at_k"]["1"]["value"] == pytest.approx(0.5)
    found = row["contamination"]
    assert found["hits"] == {"t/0": [{"kind": "solution", "evidence": ["d1"]}]}
    assert found["without"]["tasks"] == 2
    assert found["without"]["pass_at_k"]["1"]["value"] == pytest.approx(0.25)
    report = {"benchmark": "b", "plan": {}, "languages": {"python": row}, "seconds": 1.0}
    assert "without the 1 tasks met in training: pass@1 0.2500" in table(report)
    page = render(report | totals([row]), {})
    assert "1 tasks met in training" in page
    assert "<td>t/0<td>solution d1" in page


@pytest.mark.parametrize(
    ("text", "place"),
    [("{", "the file"), ("{}", "hits"), ('{"hits": [{"benchmark": "b"}]}', "hits.0.task_id")],
)
def test_a_wrong_list_of_hits_is_refused_by_its_place(
    tmp_path: Path, text: str, place: str
) -> None:
    listed = tmp_path / "contamination.json"
    listed.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRequest, match=f"contamination: .*; {place}:"):
        Contamination.read(listed, "b")
