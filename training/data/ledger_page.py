"""The ledger as one HTML page without scripts or outside parts. Every text in it is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --faint: #5c6670; --page: #fff; --line: #d9dee3;
        --kept: #2f7d5b; --removed: #c26a4a; --code: #f4f6f8 }
@media (prefers-color-scheme: dark) { :root { --text: #dde3ea; --faint: #9aa5b1; --page: #14171a;
        --line: #333a41; --kept: #55b58a; --removed: #dd8b6b; --code: #1c2126 } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; padding: 0 1rem;
       color: var(--text); background: var(--page) }
table { border-collapse: collapse; margin: .5rem 0 1rem; width: 100% }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
         font-variant-numeric: tabular-nums }
th { color: var(--faint); font-weight: 600 }
th:first-child, td:first-child { text-align: left }
.bar { display: flex; height: .8rem; min-width: 12rem }
.kept { background: var(--kept) } .removed { background: var(--removed) }
summary { cursor: pointer; margin: .25rem 0 }
pre { background: var(--code); padding: .5rem; overflow-x: auto; font-size: 12px;
      margin: .25rem 0 1rem }
.faint { color: var(--faint) }
"""
_MEASURES = ("rows", "bytes", "tokens")
_Row = Mapping[str, Any]


def render(ledger: _Row) -> str:
    """Render the ledger of one run."""
    steps = ledger["steps"]
    first = [row for row in steps if row["step"] == "filters"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>Data ledger</title><style>{_STYLE}</style><h1>Data ledger</h1>",
        f"<p class=faint>Configuration {escape(ledger['config_digest'][:16])}. Tokens before the "
        "last step are estimated from the bytes, by language.",
        "<h2>Steps</h2>",
        _flow("step", steps, lambda row: row["step"]),
        "<h2>Why documents were removed</h2>",
        _reasons(ledger["reasons"], sum(row["rows_in"] for row in first)),
        "<h2>Tags given, dropping or not</h2>",
        _table(("tag", "documents"), sorted(ledger["tags"].items(), key=lambda p: (-p[1], p[0]))),
        "<h2>Benchmark tasks met</h2>",
        _contamination(ledger["contamination"]),
        "<h2>Replaced in what leaves</h2>",
        _table(("kind", "values"), ledger["replaced"].items()),
        "<h2>From raw to clean, by source</h2>",
        _flow("source", _ends(steps), lambda row: row["source"]),
        "<h2>By language</h2>",
        _flow("language", _ends(steps), lambda row: row["language"]),
        "<h2>Bytes of a document</h2>",
        _histogram(ledger["histograms"]["bytes"]),
        "<h2>Mean characters of a line</h2>",
        _histogram(ledger["histograms"]["mean_line"]),
        "<h2>Removed, to look at</h2>",
        *(_samples(reason, rows) for reason, rows in ledger["samples"].items()),
    ]
    return "\n".join(parts) + "\n</html>\n"


def _ends(steps: Iterable[_Row]) -> list[_Row]:
    """What went into the first step and what came out of the last."""
    blank = {f"{name}_{side}": 0 for name in _MEASURES for side in ("in", "out")}
    rows: list[_Row] = []
    for row in steps:
        side = {"filters": "in", "clean": "out"}.get(row["step"])
        if side:
            names = [f"{name}_{side}" for name in _MEASURES]
            rows.append({**row, **blank, **{name: row[name] for name in names}})
    return rows


def _flow(head: str, rows: Iterable[_Row], group: Callable[[_Row], str]) -> str:
    """Sums in and out of each group, in the order they come."""
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        counts = sums.setdefault(group(row), Counter())
        for name in _MEASURES:
            counts[f"{name}_in"] += row[f"{name}_in"]
            counts[f"{name}_out"] += row[f"{name}_out"]
    columns = [f"{name} {side}" for name in _MEASURES for side in ("in", "out")]
    cells = []
    for name, counts in sums.items():
        values = [counts[column.replace(" ", "_")] for column in columns]
        share = counts["rows_out"] / counts["rows_in"] if counts["rows_in"] else 0.0
        cells.append((name, *values, f"{share:.1%}"))
    return _table((head, *columns, "kept"), cells)


def _reasons(reasons: Mapping[str, Mapping[str, int]], documents: int) -> str:
    rows = [
        (name, row["documents"], row["bytes"], row["tokens"], f"{row['documents'] / documents:.1%}")
        for name, row in sorted(reasons.items(), key=lambda pair: -pair[1]["documents"])
    ]
    return _table(("reason", "documents", "bytes", "tokens", "of all"), rows)


def _contamination(found: _Row) -> str:
    rows = [
        (name, met["tasks_read"], met["tasks_kept"])
        for name in found["looked_for"]
        for met in [found["met"].get(name, {"tasks_read": 0, "tasks_kept": 0})]
    ]
    return _table(("benchmark", "tasks in what was read", "tasks in what was kept"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{escape(name)}" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}" for value in row) for row in rows)
    return f"<table><tr>{top}{body}</table>"


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _histogram(rows: Sequence[Mapping[str, int]]) -> str:
    most = max((row["kept"] + row["removed"] for row in rows), default=1)
    body = []
    for row in rows:
        bars = "".join(
            f"<span class={kind} style='width:{100 * row[kind] / most:.2f}%'></span>"
            for kind in ("kept", "removed")
        )
        start = row["below"] // 2 if row["below"] > 2 else 0
        body.append(
            f"<tr><td>{start:,} – {row['below'] - 1:,}<td>{row['kept']:,}<td>{row['removed']:,}"
            f"<td><div class=bar>{bars}</div>"
        )
    return f"<table><tr><th>from – to<th>kept<th>removed<th>{''.join(body)}</table>"


def _samples(reason: str, rows: Sequence[_Row]) -> str:
    return (
        f"<details><summary>{escape(reason)}: {len(rows)} samples</summary>"
        + "".join(map(_sample, rows))
        + "</details>"
    )


def _sample(row: _Row) -> str:
    tags = ", ".join(f"{name} ({evidence})" for name, evidence in row["tags"])
    copied = row.get("duplicate_of")
    copy = f" · copy of {copied['repo']}: {copied['path']}" if copied else ""
    place = f"{row['repo']}: {row['path']} · {row['bytes']:,} bytes · {row['id']}{copy}"
    return (
        f"<p>{escape(place)}<br><span class=faint>{escape(tags)}</span>"
        f"<pre>{escape(row['excerpt'])}</pre>"
    )
