"""A report compares users of two variants, and says when it is not to be believed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date

from ab.report import METRICS, MISMATCH, Question, Report, build
from ab.rollup import Cell, Counts

DAYS = (date(2026, 11, 1), date(2026, 11, 7))
Cells = list[tuple[Cell, Counts]]


def cells(users: int, lift: float, seed: int = 1, part: float = 0.5) -> Cells:
    """Users with rates of their own, days before and during, split among two models."""
    chance = random.Random(seed)
    found: Cells = []
    for number in range(users):
        rate = chance.betavariate(2, 5)
        new = chance.random() < part
        for day in range(20, 32):
            found.append((cell(f"2026-10-{day}", f"u{number}", "m1"), day_of(chance, rate)))
        for day in range(1, 8):
            model, now = ("m2", rate * (1 + lift)) if new else ("m1", rate)
            found.append((cell(f"2026-11-0{day}", f"u{number}", model), day_of(chance, now)))
    return found


def cell(day: str, user: str, model: str, language: str = "python") -> Cell:
    return Cell(day, user, model, language, "native")


def day_of(chance: random.Random, rate: float) -> Counts:
    shown = chance.randint(5, 60)
    accepted = sum(chance.random() < rate for _ in range(shown))
    return Counts(
        requested=shown + 5, shown=shown, accepted=accepted, chars=accepted * 20,
        explicit=chance.randint(0, 3), total_us=shown * chance.randint(40_000, 90_000),
        timed=shown, known_600=accepted, kept_600=accepted * chance.randint(500, 900),
    )  # fmt: skip


def question(**parts: object) -> Question:
    return Question("m1", "m2", *DAYS, **parts)  # type: ignore[arg-type]


def acceptance(report: Report) -> tuple[float, float]:
    row = next(row for row in report.rows if row.metric == "acceptance")
    return row.low, row.high


def test_a_lift_is_found_and_days_before_narrow_its_interval() -> None:
    report = build(cells(200, 0.2), question())
    assert {row.metric for row in report.rows} == set(METRICS)
    assert report.missing == []
    assert sum(report.users) == 200
    assert report.mismatch_p > MISMATCH
    low, high = acceptance(report)
    assert low > 0
    wide = acceptance(build(cells(200, 0.2), question(before=0)))
    assert high - low < (wide[1] - wide[0]) / 2


def test_no_lift_is_not_found() -> None:
    report = build(cells(200, 0.0, seed=2), question())
    assert all(row.low < 0 < row.high for row in report.rows)
    assert all(row.p <= row.holm_p for row in report.rows)


def test_users_with_both_variants_are_left_out() -> None:
    given = [*cells(100, 0.0), (cell("2026-11-03", "u0", "m1"), Counts(shown=9, requested=9)),
             (cell("2026-11-03", "u0", "m2"), Counts(shown=9, requested=9))]  # fmt: skip
    report = build(given, question())
    assert report.both == 1
    assert sum(report.users) == 99


def test_a_split_that_was_not_planned_is_told() -> None:
    uneven = cells(600, 0.0, part=0.3)
    assert build(uneven, question()).mismatch_p < MISMATCH
    assert build(uneven, question(weights=(70.0, 30.0))).mismatch_p > MISMATCH


def test_only_what_was_asked_for_counts() -> None:
    given = cells(50, 0.0)
    given.append((cell("2026-11-08", "late", "m1"), Counts(shown=9, requested=9)))
    given.append((cell("2026-11-03", "other", "m3"), Counts(shown=9, requested=9)))
    given.append((cell("2026-11-03", "gopher", "m1", "go"), Counts(shown=9, requested=9)))
    given.append((cell("2026-11-03", "", "m1"), Counts(shown=9, requested=9)))
    given.append((cell("2026-11-03", "erased", "m1"), Counts()))
    report = build(given, question(language="python"))
    assert sum(report.users) == 50
    assert report.nameless == 9


def nothing() -> Iterator[tuple[Cell, Counts]]:
    return iter(())


def test_without_users_every_metric_is_missing() -> None:
    report = build(nothing(), question())
    assert (report.rows, list(report.missing), report.users) == ([], list(METRICS), (0, 0))
