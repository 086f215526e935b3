"""Limits are kept, broken, or not measured, which is broken too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.clients import EDITORS
from loadtest.developer import Seen
from loadtest.figures import Figures, percentiles
from loadtest.verdict import Limit, judge, main, read_limits

REPORT = {"all": {"errors": 0.5, "none": None}}


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (Limit("all.errors", 0.5, None), True),
        (Limit("all.errors", 0.4, None), False),
        (Limit("all.errors", None, 0.5), True),
        (Limit("all.errors", None, 0.6), False),
        (Limit("all.none", 1, None), False),
        (Limit("nothing.there", 1, None), False),
    ],
)
def test_a_limit_is_kept_or_broken(limit: Limit, kept: bool) -> None:
    assert judge(REPORT, [limit])[0].kept is kept


def test_the_exit_code_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, limits = tmp_path / "report.json", tmp_path / "limits.toml"
    report.write_text(json.dumps(REPORT))
    for most, code in ((1, 0), (0.1, 1)):
        limits.write_text(f'[[limit]]\nfigure = "all.errors"\nmost = {most}\n')
        assert main([str(report), "--limits", str(limits)]) == code
        assert "all.errors" in capsys.readouterr().out
    report.write_text("{")
    assert main([str(report)]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "limit = 3",
        '[[limit]]\nfigure = "a"',
        "[[limit]]\nmost = 1",
        '[[limit]]\nfigure = "a"\nmost = "x"',
    ],
)
def test_a_wrong_file_of_limits_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="limit"):
        read_limits(path)


def test_every_limit_names_a_figure_that_reports_have() -> None:
    figures = Figures()
    for number, name in enumerate(EDITORS):
        figures.add(Seen(name, "accepted", 10.0 + number, 20.0, "engine", 5))
    counters = (
        'tabwright_generated_tokens_total {}\ntabwright_wasted_tokens_total{{reason="x"}} {}\n'
    )
    report = figures.report(counters.format(0, 0), counters.format(10, 2))
    for limit in read_limits():
        value = judge(report, [limit])[0].value
        assert value is not None, limit
    assert report["server"]["wasted_share"] == 0.2
    assert report["all"]["acceptance"] == 1.0


def test_percentiles_are_of_what_was_measured() -> None:
    shown = percentiles(list(range(1, 101)))
    assert (shown["p50"], shown["p95"], shown["p99"], shown["max"]) == (50, 95, 99, 100)
    assert percentiles([7.0])["p99"] == 7.0
    assert percentiles([])["p50"] is None
