"""What a benchmark does not ask is visible wherever its score is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalkit.commands.check import main as check
from evalkit.commands.list import main as list_benchmarks
from evalkit.commands.report import table
from evalkit.page import render
from tabwright.errors import InvalidRequest

REPORT: dict[str, Any] = {
    "benchmark": "b",
    "plan": {},
    "left_out": {"b/1": "its value is <wrong>", "b/2": "so is this"},
    "languages": {},
    **{"passed": 0, "failed": 0, "unjudged": 0, "seconds": 1.0},
}


def test_a_page_names_the_tasks_and_the_reasons() -> None:
    page = render(REPORT, {})
    assert "2 tasks of the benchmark were not asked" in page
    assert "b/1<td>its value is &lt;wrong&gt;" in page
    assert "not asked" not in render({**REPORT, "left_out": {}}, {})


def test_a_table_counts_them() -> None:
    assert "2 tasks" in table(REPORT)
    assert table({**REPORT, "left_out": {}}) == ""


def test_the_list_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_benchmarks(["--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["core"]["left_out"] == {}
    assert rows["humaneval-rendered"]["left_out"]["HumanEval/107"] == "a value is a tuple"
    assert list_benchmarks([]) == 0
    assert "without HumanEval/107: a value is a tuple" in capsys.readouterr().out


def test_a_check_with_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no references"):
        check(["--benchmark", "humaneval-rendered", "--lang", "c"])
