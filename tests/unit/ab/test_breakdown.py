"""Day by day and group by group, a report says what each part of the counts says by itself."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser

import pytest

from ab.breakdown import Details, details
from ab.page import render
from ab.report import Question, build
from ab.rollup import Cell, Counts
from ab.shrinkage import shrink

SINCE = date(2026, 11, 1)
QUESTION = Question("m1", "m2", SINCE, SINCE + timedelta(days=6))
Cells = list[tuple[Cell, Counts]]


def cells(lifts: dict[str, float], users: int = 60) -> Cells:
    """Users with all these languages; the candidate lifts acceptance in each by so much."""
    chance = random.Random(7)
    found = []
    for number in range(users):
        rate, model = chance.uniform(0.2, 0.4), f"m{1 + number % 2}"
        for day in range(-14, 7):
            for language, lift in lifts.items():
                shown = chance.randint(8, 30)
                now = rate * (1 + lift) if day >= 0 and model == "m2" else rate
                accepted = sum(chance.random() < now for _ in range(shown))
                told = model if day >= 0 else "m1"
                where = Cell(
                    str(SINCE + timedelta(days=day)), f"u{number}", told, language, "native"
                )
                found.append((where, Counts(requested=shown + 2, shown=shown, accepted=accepted)))
    return found


def test_each_point_of_a_line_is_the_report_of_that_day() -> None:
    given = cells({"go": 0.2, "rust": 0.0})
    found = details(given, QUESTION)
    assert len(found.series["acceptance"]) == 7
    for days, point in enumerate(found.series["acceptance"]):
        then = replace(QUESTION, until=SINCE + timedelta(days=days))
        row = next(row for row in build(given, then).rows if row.metric == "acceptance")
        assert (point.difference, point.low, point.high) == pytest.approx(
            (row.difference, row.low, row.high)
        )
        assert point.finds > (row.high - row.low) / 2
    assert "latency in ms" not in found.series


def test_each_group_is_the_report_of_that_language_and_all_are_adjusted_together() -> None:
    given = cells({"go": 0.4, "rust": 0.0, "": 0.0})
    found = details(given, QUESTION)
    go = next(g for g in found.languages if (g.group, g.metric) == ("go", "acceptance"))
    row = next(r for r in build(given, replace(QUESTION, language="go")).rows
               if r.metric == "acceptance")  # fmt: skip
    assert (go.difference, go.low, go.high, go.p) == pytest.approx(
        (row.difference, row.low, row.high, row.p)
    )
    assert go.p < go.bh_p <= go.holm_p
    assert {g.group for g in found.languages} == {"go", "rust", ""}
    assert {g.group for g in found.editors} == {"native"}
    rust = next(g for g in found.languages if (g.group, g.metric) == ("rust", "acceptance"))
    assert rust.shrunken > rust.difference
    assert go.shrunken < go.difference


def test_users_with_both_variants_are_left_out_of_groups_and_lines() -> None:
    given = cells({"go": 0.2})
    twice = [
        (cell._replace(variant="m2" if cell.variant == "m1" else "m1"), counts)
        for cell, counts in given
        if cell.user == "u3" and cell.day >= "2026-11-01"
    ]
    found = details([*given, *twice], QUESTION)
    assert found.languages[0].users == (30, 29)


def test_groups_are_believed_as_far_as_their_errors_allow() -> None:
    same = shrink([(0.1, 0.01), (0.1, 0.04)])
    assert [one.value for one in same] == pytest.approx([0.1, 0.1])
    assert [one.believed for one in same] == [0.0, 0.0]
    apart = shrink([(1.0, 1e-4), (-1.0, 1e-4), (0.5, 4.0)])
    assert apart[0].value == pytest.approx(1.0, abs=0.01)
    assert apart[2].value == pytest.approx(0.15, abs=0.1)
    assert apart[2].error < 2.0
    assert shrink([(0.3, 0.25)])[0][:2] == pytest.approx((0.3, 0.5))
    assert shrink([]) == []


def test_shrinking_is_nearer_to_the_truth_than_each_group_alone() -> None:
    chance = random.Random(5)
    own = drawn = 0.0
    for _ in range(200):
        truths = [chance.gauss(0.02, 0.02) for _ in range(10)]
        seen = [(chance.gauss(truth, 0.05), 0.0025) for truth in truths]
        own += sum((d - t) ** 2 for (d, _), t in zip(seen, truths, strict=True))
        drawn += sum((s.value - t) ** 2 for s, t in zip(shrink(seen), truths, strict=True))
    assert drawn < own / 2


class Links(HTMLParser):
    """Everything that a page would fetch, and whether its tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_needs_no_other_file_and_shows_names_as_text() -> None:
    given = [(cell._replace(language="<script>"), counts) for cell, counts in cells({"go": 0.3})]
    text = render(QUESTION, build(given, QUESTION), details(given, QUESTION))
    links = Links()
    links.feed(text)
    assert links.fetched == []
    assert links.open == []
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert '<span class="better">better</span>' in text
    assert "prefers-color-scheme: dark" in text


def test_a_page_about_nothing_or_a_broken_split_says_so() -> None:
    nothing = Details({}, [], [])
    assert "Nothing that has enough users" in render(QUESTION, build([], QUESTION), nothing)
    uneven = [row for row in cells({"go": 0.0}, 200)
              if row[0].variant == "m2" or int(row[0].user[1:]) < 30]  # fmt: skip
    text = render(QUESTION, build(uneven, QUESTION), details(uneven, QUESTION))
    assert "Do not believe this page" in text
