"""The page of a report: what it shows, what it escapes, and which samples stand on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.page import render
from evalkit.problem import Outcome, Problem, Sample, Verdict
from evalkit.runs import RunFolder
from evalkit.score import score, tally, totals
from evalkit.specimens import Specimens, run_specimens, specimens

EVIL = "</pre><script>alert(1)</script>&amp;\n\n"


def folder_with(tmp_path: Path, *rows: tuple[str, int, Outcome, str]) -> Path:
    folder = tmp_path / "run"
    with RunFolder(folder, {}) as run:
        for task_id, index, outcome, text in rows:
            run.add_sample(Sample(task_id, index, text, 12.0))
            run.add_verdict(Verdict(task_id, index, outcome, "why", 0.005))
    return folder


def page(chosen: Specimens, **more: Any) -> str:
    verdicts = [Verdict("t/0", i, o) for i, o in enumerate((Outcome.PASSED, Outcome.WRONG))]
    verdicts.append(Verdict("t/1", 0, Outcome.UNJUDGED))
    tasks = [Problem(name, "python", "") for name in ("t/0", "t/1")]
    row = score(tasks, tally(verdicts), [1]) | more
    plan = {"n": 2, "source": {"endpoint": "http://<host>", "model": "", "seed": 7}}
    report = {"benchmark": "b<i>", "plan": plan, "languages": {"python": row}, "seconds": 1.5}
    return render(report | totals([row]), {"python": chosen})


def test_a_page_tells_score_interval_settings_and_what_was_not_judged() -> None:
    text = page({})
    assert "<td>pass@1<td>0.5000<td>0.500 – 0.500<td>1 (1 left out: too few judged)" in text
    assert "<b class=unjudged>1</b> could not be judged" in text
    assert "<td>source.seed<td>7" in text
    assert "source.model" not in text
    assert "50.0%" in text, "shares are of what was judged"
    assert "without tasks met" not in text
    assert "in time" not in text


def test_a_page_names_what_was_met_in_training_and_what_came_in_time() -> None:
    hits = {"t/1": [{"kind": "prompt", "evidence": ["a1", "b2"]}]}
    scored = {"tasks": 1, "pass_at_k": {"1": {"value": 0.25}}}
    text = page(
        {},
        contamination={"hits": hits, "without": scored},
        within_ms={"ms": 300.0, "pass_at_k": {}},
    )
    assert "<th>without tasks met" in text
    assert "<td>0.2500<td>too few (300 ms)" in text
    assert "<td>t/1<td>prompt a1, b2" in text


def test_every_text_of_a_page_is_escaped_and_a_sample_keeps_its_lines(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("t/0", 0, Outcome.PASSED, "\n" + EVIL))
    text = page(specimens(folder))
    assert "<script" not in text
    assert "b<i>" not in text
    assert "http://<host>" not in text
    escaped = "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"
    assert f"<pre>\n\n{escaped}\n\n</pre>" in text


def test_of_each_task_the_first_that_passed_and_the_first_that_did_not_are_shown(
    tmp_path: Path,
) -> None:
    folder = folder_with(
        tmp_path,
        ("t/0", 0, Outcome.WRONG, "a"),
        ("t/0", 1, Outcome.CRASHED, "b"),
        ("t/0", 2, Outcome.PASSED, "c"),
        ("t/0", 3, Outcome.PASSED, "d"),
        ("t/1", 0, Outcome.UNJUDGED, "x" * 5000),
    )
    found = specimens(folder)
    assert [one.sample.completion for one in found["t/0"]] == ["c", "a"]
    assert (len(found["t/1"][0].sample.completion), found["t/1"][0].left_out) == (4000, 1000)
    assert run_specimens(folder, {"languages": {"python": {}}}) == {"python": found}


def test_a_run_whose_samples_are_gone_still_has_a_page(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("t/0", 0, Outcome.PASSED, "a"))
    (folder / "samples.jsonl").unlink()
    assert specimens(folder) == {}
    assert "No sample is kept." in page({})


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), (" \n", "is 2 blank characters")])
def test_a_sample_without_text_says_so(tmp_path: Path, text: str, said: str) -> None:
    folder = folder_with(tmp_path, ("t/0", 0, Outcome.WRONG, text))
    assert said in page(specimens(folder))
