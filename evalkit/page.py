"""A report as one HTML page without scripts or outside parts. Every text in it is escaped.

Knows a report's JSON and a few of its samples; reads no file. Read `render` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from evalkit.problem import Outcome
from evalkit.specimens import Specimen, Specimens

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #59636e; --line: #d9dee3;
        --box: #f4f6f8; --good: #1a7f37; --bad: #b4291f; --open: #8a6100 }
@media (prefers-color-scheme: dark) { :root { --ink: #dde3ea; --paper: #14171a; --soft: #9aa5b1;
        --line: #333a41; --box: #1d2227; --good: #57c271; --bad: #f08279; --open: #dcb04a } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem;
       padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper) }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.25rem; border-top: 1px solid var(--line);
     padding-top: 1.25rem }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem }
p { margin: .5rem 0 }
.soft { color: var(--soft) }
.passed { color: var(--good) } .failed { color: var(--bad) } .unjudged { color: var(--open) }
.wide { overflow-x: auto; margin: .75rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .75rem; text-align: right; border-bottom: 1px solid var(--line);
         white-space: nowrap; vertical-align: top }
th { font-weight: 600; color: var(--soft) }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
.words th { text-align: left }
.words td + td { text-align: left; white-space: normal; overflow-wrap: anywhere }
td.bar { width: 12rem; min-width: 5rem }
td.bar i { display: block; height: .7rem; margin-top: .4rem; border-radius: 2px;
           background: currentColor }
.cells { display: flex; flex-wrap: wrap; gap: 3px; margin: .75rem 0 }
.cells span { width: 14px; height: 14px; border-radius: 2px }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 2px; vertical-align: -1px }
summary { cursor: pointer; padding: .2rem 0; overflow-wrap: anywhere }
details details { margin-left: 1rem }
figure { margin: .5rem 0 1rem 1rem }
pre { margin: .25rem 0; padding: .6rem .75rem; overflow: auto; max-height: 26rem; font-size: 13px;
      line-height: 1.45; background: var(--box); border: 1px solid var(--line); border-radius: 4px }
@media (max-width: 40rem) {
  th, td { padding: .3rem .3rem; font-size: 13px }
  th { white-space: normal; vertical-align: bottom }
  .words td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6rem }
  td.bar { width: 30%; min-width: 3rem }
  details details, figure { margin-left: .25rem }
}
"""
_NOTHING: Specimens = {}


def render(report: Mapping[str, Any], specimens: Mapping[str, Specimens]) -> str:
    """Render one run's report, with these samples of each language to look at."""
    title = f"{report['benchmark']}: pass@k"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        _summary(report),
        _scores(report["languages"]),
        _settings(report["plan"]),
        _left_out(report.get("left_out", {})),
    ]
    for language, row in report["languages"].items():
        parts += [f"<h2>{escape(language)}</h2>", _outcomes(row), _contamination(row)]
        parts.append(_tasks(row, specimens.get(language, _NOTHING)))
    return "\n".join(parts) + "\n</html>\n"


def _summary(report: Mapping[str, Any]) -> str:
    counts = ", ".join(
        f"<b class={name}>{report[name]}</b> {name}" for name in ("passed", "failed")
    )
    lines = [f"<p>{counts}. The last command of this run took {report['seconds']:g} s."]
    if unjudged := report["unjudged"]:
        lines.append(
            f"<p><b class=unjudged>{unjudged}</b> could not be judged: the sandbox failed, or "
            "verdicts differed. They are no failures and no part of any score."
        )
    return "".join(lines)


def _scores(languages: Mapping[str, Any]) -> str:
    """The table of scores: a row for each language and k, with the mean and its interval."""
    rows = [(language, k, row) for language, row in languages.items() for k in row["pass_at_k"]]
    columns: dict[str, list[str]] = {
        "language": [language for language, _, _ in rows],
        "score": [f"pass@{k}" for _, k, _ in rows],
        "mean": [f"{row['pass_at_k'][k]['value']:.4f}" for _, k, row in rows],
        "95 % interval": [_interval(row["pass_at_k"][k]) for _, k, row in rows],
        "without tasks met": [_without(row, k) for _, k, row in rows],
        "in time": [_within(row, k) for _, k, row in rows],
        "tasks": [_tasks_of(row["pass_at_k"][k]) for _, k, row in rows],
        "samples": [str(row["samples"]) for _, _, row in rows],
        "unjudged": [str(row["unjudged"]) for _, _, row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    return _table(shown, zip(*shown.values(), strict=True)) + _unscored(languages)


def _unscored(languages: Mapping[str, Any]) -> str:
    names = [language for language, row in languages.items() if not row["pass_at_k"]]
    return f"<p>Without a score, for too few judged samples: {', '.join(names)}." if names else ""


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['low']:.3f} – {found['high']:.3f}"


def _tasks_of(found: Mapping[str, Any]) -> str:
    left = f" ({found['left_out']} left out: too few judged)" if found["left_out"] else ""
    return f"{found['tasks']}{left}"


def _without(row: Mapping[str, Any], k: str) -> str:
    """The score without the tasks that the model has met."""
    return _mean(row["contamination"]["without"], k) if "contamination" in row else ""


def _mean(scored: Mapping[str, Any], k: str) -> str:
    return f"{scored['pass_at_k'][k]['value']:.4f}" if k in scored["pass_at_k"] else "too few"


def _within(row: Mapping[str, Any], k: str) -> str:
    """The score with late answers counted as wrong."""
    limit = row.get("within_ms")
    return f"{_mean(limit, k)} ({limit['ms']:g} ms)" if limit else ""


def _settings(plan: Mapping[str, Any]) -> str:
    table = _table(["setting", "value"], _flat(plan, ""), "words")
    return f"<details><summary>Settings and lineage</summary>{table}</details>"


def _flat(values: Mapping[str, Any], above: str) -> Iterator[list[str]]:
    """Each setting by its whole name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value not in (None, ""):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield [above + name, shown]


def _left_out(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return ""
    table = _table(["task", "why"], reasons.items(), "words")
    count = f"{len(reasons)} tasks of the benchmark were not asked"
    return f"<details><summary>{count}</summary>{table}</details>"


def _outcomes(row: Mapping[str, Any]) -> str:
    """Outcomes of what was judged, with shares; what was not judged has no share."""
    judged = row["samples"] - row["unjudged"]
    rows = "".join(
        f"<tr class={_kind(name)}><td>{escape(_said(name))}<td>{count}<td>{count / judged:.1%}"
        f"<td class=bar><i style='width:{100 * count / judged:.1f}%'></i>"
        for name, count in row["outcomes"].items()
        if name != Outcome.UNJUDGED
    )
    head = "<tr><th>outcome<th>samples<th>of the judged<th>"
    table = f"<div class=wide><table>{head}{rows}</table></div>"
    if row["unjudged"]:
        table += f"<p class=unjudged>{row['unjudged']} besides could not be judged."
    return table


def _contamination(row: Mapping[str, Any]) -> str:
    if "contamination" not in row:
        return ""
    hits = row["contamination"]["hits"]
    if not hits:
        return "<p>None of these tasks is on the list of what the model has met in training."
    table = _table(["task", "met in training"], ([k, _met(v)] for k, v in hits.items()), "words")
    return f"<h3>{len(hits)} tasks met in training</h3>{table}"


def _met(hits: Sequence[Mapping[str, Any]]) -> str:
    """What of a task was met, and where the ledger has it."""
    return "; ".join(f"{hit['kind']} {', '.join(hit['evidence'])}".strip() for hit in hits)


def _tasks(row: Mapping[str, Any], specimens: Specimens) -> str:
    cells = "".join(
        f"<span style='background:{_colour(outcomes)}' "
        f"title='{escape(f'{task_id}: {_counts(outcomes)}')}'></span>"
        for task_id, outcomes in row["by_task"].items()
    )
    key = "A square a task, from " + ", ".join(
        f"<i class=key style='background:{_colour({name: 1})}'></i> {text}"
        for name, text in (("wrong", "none passed"), ("passed", "all passed"))
    )
    if row["unjudged"]:
        key += f", or <i class=key style='background:{_colour({'unjudged': 1})}'></i> none judged"
    hits = row.get("contamination", {}).get("hits", {})
    listed = "".join(
        _task(task_id, outcomes, specimens.get(task_id, ()), met=task_id in hits)
        for task_id, outcomes in row["by_task"].items()
    )
    count = f"The {len(row['by_task'])} tasks, with samples"
    return (
        f"<p class=soft>{key}.</p><div class=cells>{cells}</div>"
        f"<details><summary>{count}</summary>{listed}</details>"
    )


def _task(
    task_id: str, outcomes: Mapping[str, int], specimens: Sequence[Specimen], *, met: bool
) -> str:
    colour = f"<i class=key style='background:{_colour(outcomes)}'></i>"
    also = " <span class=unjudged>· met in training</span>" if met else ""
    line = f"{colour} {escape(task_id)} <span class=soft>{_counts(outcomes)}</span>{also}"
    if not specimens:
        return f"<details><summary>{line}</summary><p class=soft>No sample is kept.</details>"
    figures = "".join(map(_figure, specimens))
    return f"<details><summary>{line}</summary>{figures}</details>"


def _figure(one: Specimen) -> str:
    """One sample: what was found about it, and its text."""
    verdict, sample = one.verdict, one.sample
    facts = [f"sample {sample.index}", verdict.detail]
    if sample.generated_ms is not None:
        facts.append(f"made in {sample.generated_ms:.0f} ms")
    if verdict.cpu_s:
        facts.append(f"ran for {verdict.cpu_s * 1000:.0f} ms of processor time")
    if one.left_out:
        facts.append(f"{one.left_out} characters more are not shown")
    said = f"<b class={_kind(verdict.outcome)}>{escape(_said(verdict.outcome))}</b>"
    words = escape(" · ".join(filter(None, facts)))
    text = escape(sample.completion)
    # A line break right behind <pre> would be dropped, so one is put there.
    code = f"<pre>\n{text}</pre>" if text.strip() else f"<p class=soft>{_blank(text)}"
    return f"<figure><figcaption>{said} <span class=soft>{words}</span></figcaption>{code}</figure>"


def _blank(text: str) -> str:
    return f"The sample is {len(text)} blank characters." if text else "The sample is empty."


def _colour(outcomes: Mapping[str, int]) -> str:
    """From red to green by the share that passed; grey where nothing was judged."""
    judged = sum(count for name, count in outcomes.items() if name != Outcome.UNJUDGED)
    share = outcomes.get(Outcome.PASSED, 0) / judged if judged else 0.0
    return f"hsl({round(5 + share * 130)} 55% 47%)" if judged else "#888"


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {_said(name)}" for name, count in outcomes.items())


def _kind(outcome: str) -> str:
    return outcome if outcome in (Outcome.PASSED, Outcome.UNJUDGED) else "failed"


def _said(outcome: str) -> str:
    return outcome.replace("_", " ")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    """A table that is scrolled by itself where the page is narrow."""
    heads = "".join(f"<th>{escape(cell)}" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return f"<div class=wide><table class='{kind}'><tr>{heads}{body}</table></div>"
