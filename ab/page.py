"""A report as one HTML page without any other file: bands over time, languages, editors, the split.

Says what `ab report --json` says and nothing more; light and dark as the reader's system is. Read
`render` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ab.breakdown import Details, Group, Point
from ab.report import METRICS, MISMATCH, Question, Report

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 220, 64, 28, 12
_APART = 14  # labels that stand nearer cannot be read
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #fff; --line: #d0d7de;
  --band: #0969da33; --mark: #0969da; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117;
  --line: #3d444d; --band: #4493f844; --mark: #4493f8; --good: #3fb950; --bad: #f85149; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p, figcaption, caption { color: var(--soft); } caption { text-align: left; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.better { color: var(--good); font-weight: 600; } .worse { color: var(--bad); font-weight: 600; }
.warning { border-left: 4px solid var(--bad); padding: .5rem 1rem; color: var(--ink); }
figure { margin: 1rem 0 2rem; } svg { width: 100%; min-width: 30rem; height: auto; }
svg text { fill: var(--soft); font-size: 12px; } .grid { stroke: var(--line); }
.zero { stroke: var(--ink); } .band { fill: var(--band); }
.mark { stroke: var(--mark); fill: none; stroke-width: 2; } .dot { fill: var(--mark); }
"""


def render(question: Question, report: Report, details: Details) -> str:
    """Write the page."""
    title = f"{question.candidate} against {question.control}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{question.since} to {question.until} (UTC), {_about(question)}. "
        "Intervals hold at every look together.</p>",
        _split(report),
        "<h2>Now</h2>",
        _rows(report, details),
        "<h2>Day by day</h2>",
        *(_figure(name, points) for name, points in details.series.items()),
        "<h2>By language</h2>",
        _groups(details.languages),
        "<h2>By editor</h2>",
        _groups(details.editors),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _about(question: Question) -> str:
    only = [part for part in (question.language, question.editor) if part]
    what = f"by variants of the flag {question.flag}" if question.flag else "by model"
    return escape(", ".join([what, *(f"{part} only" for part in only)]))


def _split(report: Report) -> str:
    told = f"{report.users[0]} users have the control and {report.users[1]} the candidate"
    left = f"; {report.both} with both are left out" if report.both else ""
    nameless = f"; {report.nameless} requests are of nobody known" if report.nameless else ""
    text = f"<p>{told}{left}{nameless}. The split: p = {report.mismatch_p:.2g}.</p>"
    if report.mismatch_p >= MISMATCH:
        return text
    return text + (
        '<p class="warning" role="alert">Do not believe this page: users are not split as planned.'
        "</p>"
    )


def _rows(report: Report, details: Details) -> str:
    lines = []
    for row in report.rows:
        points = details.series.get(row.metric)
        finds = f"{points[-1].finds:.3g}" if points else ""
        lines.append([
            escape(row.metric), f"{row.control:.4g}", f"{row.candidate:.4g}",
            _said(row.metric, row.difference, row.low, row.high), f"{row.holm_p:.2g}", finds,
        ])  # fmt: skip
    heads = ["metric", "control", "candidate", "difference", "p (Holm)", "finds"]
    missing = (
        f"<p>Too little of: {escape(', '.join(report.missing))}.</p>" if report.missing else ""
    )
    caption = "finds: the change that such a look finds in 4 of 5 experiments"
    return _table(caption, heads, lines) + missing


def _groups(groups: Sequence[Group]) -> str:
    if not groups:
        return "<p>Nothing that has enough users to compare.</p>"
    lines = [
        [
            escape(group.group or "not told"), escape(group.metric),
            f"{group.users[0]} / {group.users[1]}",
            _said(group.metric, group.difference, group.low, group.high),
            f"{group.shrunken:+.3g} ± {group.shrunken_error:.2g}",
            f"{group.holm_p:.2g}", f"{group.bh_p:.2g}",
        ]
        for group in groups
    ]  # fmt: skip
    caption = (
        "shrunken: in the light of all groups, ± its standard error; Holm and Benjamini-Hochberg "
        "over this table"
    )
    heads = ["group", "metric", "users", "difference", "shrunken", "p (Holm)", "p (B-H)"]
    return _table(caption, heads, lines)


def _table(caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _said(metric: str, difference: float, low: float, high: float) -> str:
    """A difference; in words, and not by colour alone, if it is shown to be better or worse."""
    text = f"{difference:+.3g} [{low:+.3g}, {high:+.3g}]"
    if low <= 0 <= high:
        return text
    word = "better" if (low > 0) != METRICS[metric].less_is_better else "worse"
    return f'{text} <span class="{word}">{word}</span>'


def _figure(name: str, points: Sequence[Point]) -> str:
    """A band of intervals with the difference in it, and zero, which is what it is held against."""
    top = max(0.0, *(point.high for point in points))
    bottom = min(0.0, *(point.low for point in points))
    across = [_across(place, len(points)) for place in range(len(points))]

    def down(value: float) -> float:
        return _TOP + (top - value) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM)

    def line(values: Sequence[float], places: Sequence[float]) -> str:
        return " ".join(f"{x:.1f},{down(y):.1f}" for x, y in zip(places, values, strict=True))

    upper = line([point.high for point in points], across)
    lower = line([point.low for point in reversed(points)], across[::-1])
    middle = [point.difference for point in points]
    dots = "".join(
        f'<circle class="dot" cx="{x:.1f}" cy="{down(point.difference):.1f}" r="3"><title>'
        f"{point.day}: {point.difference:+.3g} [{point.low:+.3g}, {point.high:+.3g}]"
        "</title></circle>"
        for x, point in zip(across, points, strict=True)
    )
    grid = "".join(
        f'<line class="{"grid" if value else "zero"}" x1="{_LEFT}" x2="{_WIDTH - 8}" '
        f'y1="{down(value):.1f}" y2="{down(value):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{down(value) + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        for value in (0.0, *(v for v in (bottom, top) if abs(down(v) - down(0.0)) > _APART))
    )
    last = points[-1]
    told = f"{name}: {last.difference:+.3g} [{last.low:+.3g}, {last.high:+.3g}] on {last.day}"
    return (
        f"<figure><figcaption>{escape(name)}: candidate minus control</figcaption>"
        f'<div class="wide"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(told)}">{grid}'
        f'<polygon class="band" points="{upper} {lower}"/>'
        f'<polyline class="mark" points="{line(middle, across)}"/>{dots}'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{points[0].day}</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">{last.day}</text>'
        "</svg></div></figure>"
    )


def _number(value: float) -> str:
    return f"{value:+.2g}" if value else "0"


def _across(place: int, count: int) -> float:
    room = _WIDTH - 16 - _LEFT
    return _LEFT + 4 + (room * place / (count - 1) if count > 1 else room / 2)
