"""The measurement of post-processing: holes are fair, and what is counted is what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.parse_bench import KINDS, Answer, Hole, cut_holes, main, parses, summary
from tabwright.errors import ConfigError

SOURCE = '''\
"""A module."""

import json


def read(path):
    """Read."""
    with open(path) as stream:
        text = stream.read()
        return json.loads(text)


def write(path, value):
    text = json.dumps(value)
    with open(path, "w") as stream:
        stream.write(text)
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(4):
        text = SOURCE.replace("read", f"read_{number}") * 3
        (tmp_path / f"module_{number}.py").write_text(text, encoding="utf-8")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_it.py").write_text(SOURCE * 3, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def f(:\n" * 200, encoding="utf-8")
    return tmp_path


def test_holes_are_cut_out_of_files_that_parse(source: Path) -> None:
    holes = cut_holes(source, 40, seed=1)
    assert [hole.kind for hole in holes] == list(KINDS) * 10
    for hole in holes:
        text = (source / hole.path).read_text(encoding="utf-8")
        assert hole.prefix + hole.middle + hole.suffix == text
        assert hole.path.startswith("module_")
        assert parses(hole, hole.middle)
        if hole.kind != "span":
            assert hole.suffix.startswith("\n")
        if hole.kind in ("line", "block"):
            assert not hole.prefix.rpartition("\n")[2].strip()
        assert ("\n" in hole.middle) == (hole.kind == "block")


def test_the_same_seed_cuts_the_same_holes(source: Path) -> None:
    assert cut_holes(source, 12, seed=3) == cut_holes(source, 12, seed=3)
    assert cut_holes(source, 12, seed=3) != cut_holes(source, 12, seed=4)


def test_a_folder_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Python file"):
        cut_holes(tmp_path, 1, seed=0)


def test_empty_answers_are_told_from_good_ones() -> None:
    hole = Hole("line", "a.py", "x = 1\n", "y = 2", "\nz = 3\n")
    answers = [Answer("", 0), Answer("y = (", 4), Answer("y = 2", 4)]
    row = next(iter(summary("v1", [hole] * 3, answers)))
    assert (row.kind, row.holes) == ("line", 3)
    assert row.tokens == pytest.approx(8 / 3)
    assert row.parses == pytest.approx(2 / 3)
    assert row.parses_filled == pytest.approx(1 / 2)
    assert row.empty == pytest.approx(1 / 3)
    assert row.exact == pytest.approx(1 / 3)


@pytest.mark.needs("cpu")
def test_the_command_compares_raw_cut_and_nothing(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--source", str(source), "--holes", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["version"] for row in report["rows"] if row["kind"] == "all"] == [
        *("off", "v1", "nothing")
    ]
    assert {row["version"] for row in report["cost"]} == {"off", "v1"}
