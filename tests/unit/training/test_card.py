"""Does a run's card say what its files say, to everybody who looks at it?"""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tabwright.cli import main as tabwright
from training.card.plot import Line, Marks, plot, thinned, ticks

START = {
    "time": "2026-11-22T00:00:00+00:00", "step": 0, "ranks": 2, "device": "cpu",
    "parameters": 28_960, "flops_per_token": 272_064, "mfu_formula": "6 N", "peak_tflops": 0.5,
    "peak_source": "measured", "commit": "abc", "python": "3.11", "packages": {"torch": "2.13"},
    "data_digest": "d1", "sources": {"one": {"licences": {"MIT": 2}, "documents": 2, "tokens": 9}},
    "tokenizer_digest": "t1", "vocabulary": 300,
}  # fmt: skip
SPIKE = {
    "step": 3, "why": "loss 9.0 deviations", "policy": "rollback", "again": True,
    "samples": [{"sample": "x:0", "repo": "shapes", "path": "src/<b>.py"}],
}  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, attributes and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text(json.dumps(
        {"config": {"schedule": {"steps": 8}, "data": {"seed": 0}}, "data": "d1", "init_from": None}
    ))  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"step": n, "loss": 5.0 - n / 2, "grad_norm": 1.0, "tokens": 100, "tokens_per_s": 50.0,
         "mfu": 0.25, "rss_mb": 300.0, "lr_share": 1.0}
        for n in (1, 2, 3, 2, 3, 4)
    ]  # fmt: skip
    rows[2] |= {"loss": None, "spike": "loss 9.0 deviations"}
    rows[-1] |= {"held_out_loss": 3.5, "held_out_by_language": {"go": 3.0, "python": 4.0},
                 "fim_exact_match": 0.25, "mix": {"one": 3, "two": 1}}  # fmt: skip
    write(tmp_path, "metrics.jsonl", rows)
    write(tmp_path, "starts.jsonl", [START, START | {"step": 2}])
    write(tmp_path, "spikes.jsonl", [SPIKE])
    write(tmp_path, "samples.jsonl", [
        {"step": step, "prefix": "a = <", "suffix": "", "middle": f"m{step}"} for step in (2, 4)
    ])  # fmt: skip
    return tmp_path


def read(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, Reader]:
    assert tabwright(["train", "card", "--run", str(folder)]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text("utf-8")
    reader = Reader()
    reader.feed(page)
    return page, reader


def test_the_card_has_everything_that_the_files_have(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, reader = read(run, capsys)
    text = " ".join(reader.words)
    for said in ("4 of 8", "28,960", "3.0000", "25.0%", "loss 9.0 deviations", "src/<b>.py",
                 "not reached its last step", "m2", "m4", "d1", "t1", "MIT", "abc", "python",
                 "Held-out loss by language", "Rows by source", "measured"):  # fmt: skip
        assert said in text, said
    assert "<b>.py" not in page
    assert reader.tags.count("h1") == 1


def test_the_page_needs_nothing_from_outside_and_runs_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, reader = read(run, capsys)
    assert "script" not in reader.tags
    assert not [value for name, value in reader.attributes if name in ("src", "href")]
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    labels = [value for name, value in reader.attributes if name == "aria-label"]
    assert len([tag for tag in reader.tags if tag == "svg"]) <= len(labels)
    assert any(label and "training from 4.5 at step 1" in label for label in labels)


def test_a_run_without_a_step_has_a_card_and_a_folder_without_a_run_has_none(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("metrics.jsonl", "starts.jsonl", "spikes.jsonl", "samples.jsonl"):
        (run / name).unlink()
    assert "No step was finished" in read(run, capsys)[0]
    assert tabwright(["train", "card", "--run", str(tmp_path / "none")]) == 2
    assert "no training run" in capsys.readouterr().err


def test_a_long_series_is_thinned_to_its_means() -> None:
    points = [(float(n), float(n % 2)) for n in range(3000)]
    drawn = thinned(points)
    assert len(drawn) == 300
    assert {y for _, y in drawn} == {0.5}
    assert drawn[-1][0] == 2999


def test_constant_single_and_missing_series_are_drawn_without_error() -> None:
    assert plot("x", [Line("none", [])]) == ""
    assert "polyline" in plot("x", [Line("one", [(1, 0)])], [Marks("spike", [1, 99])])
    assert "polyline" in plot("x", [Line("flat", [(1, 3e9), (2, 3e9)])])
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
