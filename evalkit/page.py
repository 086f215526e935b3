"""A report as one HTML page without scripts or outside parts. Every text in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
       color: #1b1f24; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #d9dee3 }
th:first-child, td:first-child { text-align: left }
.cells { display: flex; flex-wrap: wrap; gap: 2px }
.cells span { width: 14px; height: 14px; border-radius: 2px }
summary { cursor: pointer }
@media (prefers-color-scheme: dark) { body { color: #dde3ea; background: #14171a }
  th, td { border-color: #333a41 } }
"""


def render(report: Mapping[str, Any]) -> str:
    """Render one run's report."""
    title = f"{report['benchmark']}: pass@k"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        _plan(report),
        _left_out(report.get("left_out", {})),
        _scores(report["languages"]),
    ]
    for language, row in report["languages"].items():
        parts.append(f"<h2>{escape(language)}</h2>")
        parts.append(_outcomes(row))
        parts.append(_contamination(row))
        parts.append(_tasks(row))
    return "\n".join(parts) + "\n</html>\n"


def _plan(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(key))}</td><td>{escape(str(value))}</td></tr>"
        for key, value in report["plan"].items()
    )
    return f"<details><summary>What was asked for</summary><table>{rows}</table></details>"


def _left_out(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return ""
    rows = "".join(f"<tr><td>{escape(k)}<td>{escape(why)}" for k, why in reasons.items())
    count = f"{len(reasons)} tasks of the benchmark were not asked"
    return f"<details><summary>{count}</summary><table>{rows}</table></details>"


def _scores(languages: Mapping[str, Any]) -> str:
    ks = sorted({k for row in languages.values() for k in row["pass_at_k"]}, key=int)
    head = "".join(f"<th>pass@{escape(k)}<th>95 %" for k in ks)
    body = []
    for language, row in languages.items():
        cells = []
        for k in ks:
            value = row["pass_at_k"].get(k)
            cells.append(
                f"<td><b>{value['value']:.4f}</b><td>{value['low']:.3f} – {value['high']:.3f}"
                if value
                else "<td>too few<td>"
            )
        counts = f"<td>{row['tasks']}<td>{row['samples']}<td>{row['unjudged']}"
        body.append(f"<tr><td>{escape(language)}{''.join(cells)}{counts}")
    columns = f"<tr><th>language{head}<th>tasks<th>samples<th>unjudged"
    return f"<table>{columns}{''.join(body)}</table>"


def _outcomes(row: Mapping[str, Any]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}<td>{count}" for name, count in row["outcomes"].items())
    return f"<table><tr><th>outcome<th>samples{cells}</table>"


def _contamination(row: Mapping[str, Any]) -> str:
    if "contamination" not in row:
        return ""
    hits, without = row["contamination"]["hits"], row["contamination"]["without"]
    scores = "".join(
        f"<tr><td>pass@{escape(k)}<td>{found['value']:.4f}"
        f"<td>{without['pass_at_k'][k]['value']:.4f}"
        if k in without["pass_at_k"]
        else f"<tr><td>pass@{escape(k)}<td>{found['value']:.4f}<td>too few"
        for k, found in row["pass_at_k"].items()
    )
    head = f"<tr><th>{len(hits)} tasks met in training<th>with them<th>without"
    return f"<table>{head}{scores}</table>"


def _tasks(row: Mapping[str, Any]) -> str:
    cells = []
    for task_id, outcomes in row["by_task"].items():
        judged = sum(count for name, count in outcomes.items() if name != "unjudged")
        share = outcomes.get("passed", 0) / judged if judged else 0.0
        counts = ", ".join(f"{count} {name}" for name, count in outcomes.items())
        colour = f"hsl({round(share * 120)} 55% 50%)" if judged else "#888"
        cells.append(
            f"<span style='background:{colour}' title='{escape(f'{task_id}: {counts}')}'></span>"
        )
    hits = row.get("contamination", {}).get("hits", {})
    table = "".join(
        f"<tr><td>{escape(task_id)}<td>"
        + escape(", ".join(f"{count} {name}" for name, count in outcomes.items()))
        + f"<td>{escape(_met(hits.get(task_id, ())))}"
        for task_id, outcomes in row["by_task"].items()
    )
    return (
        f"<div class=cells>{''.join(cells)}</div>"
        f"<details><summary>Every task</summary><table>{table}</table></details>"
    )


def _met(hits: Sequence[Mapping[str, Any]]) -> str:
    """What of a task was met in training, and where the ledger has it."""
    return "; ".join(f"met in training: {h['kind']} {', '.join(h['evidence'])}" for h in hits)
