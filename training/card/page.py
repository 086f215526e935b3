"""The card as one HTML page without scripts or outside parts. Every text in it is escaped.

Knows a `Card`; reads no file. Read `render` first.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from training.card.card import Card
from training.card.plot import Line, Marks, plot
from training.records import Row

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #59636e; --line: #d9dee3;
        --box: #f4f6f8; --bad: #b4291f; --open: #8a6100; --c0: #0b62c4; --c1: #b3470a;
        --c2: #1a7f37; --c3: #8b3fb5; --c4: #0a7b83; --c5: #a3195b }
@media (prefers-color-scheme: dark) { :root { --ink: #dde3ea; --paper: #14171a; --soft: #9aa5b1;
        --line: #333a41; --box: #1d2227; --bad: #f08279; --open: #dcb04a; --c0: #6cb0ff;
        --c1: #f2a065; --c2: #57c271; --c3: #c99af0; --c4: #4fc4cc; --c5: #f28ab8 } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem;
       padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper) }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.25rem; border-top: 1px solid var(--line);
     padding-top: 1.25rem }
p { margin: .5rem 0 }
.soft { color: var(--soft) } .bad { color: var(--bad) }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
           gap: .75rem 1.5rem; margin: 1rem 0 }
.facts dt { color: var(--soft) }
.facts dd { margin: 0; font-size: 1.25rem; overflow-wrap: anywhere }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
         gap: 1.25rem }
figure { margin: 0; min-width: 0 } figcaption { font-weight: 600 }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--soft); font-size: 9.5px }
svg .grid { stroke: var(--line) } svg .spike { stroke: var(--bad); stroke-dasharray: 3 3 }
svg .restart { stroke: var(--open); stroke-dasharray: 7 4 }
polyline { fill: none; stroke: currentColor; stroke-width: 1.25; stroke-linejoin: round }
circle { fill: currentColor }
.c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) }
.c3 { color: var(--c3) } .c4 { color: var(--c4) } .c5 { color: var(--c5) }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: 13px; color: var(--soft) }
.legend i { display: inline-block; width: 1rem; height: 3px; margin-right: .4rem;
            vertical-align: middle; background: currentColor }
.wide { overflow-x: auto; margin: .75rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .75rem; text-align: left; border-bottom: 1px solid var(--line);
         vertical-align: top; white-space: nowrap }
td:last-child { white-space: normal; overflow-wrap: anywhere; min-width: 14rem }
td.words { white-space: normal; min-width: 11rem }
th { font-weight: 600; color: var(--soft) }
th:first-child, td:first-child { padding-left: 0 }
summary { cursor: pointer; padding: .2rem 0 }
.answers { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(15rem, 1fr);
           gap: .75rem; overflow-x: auto; padding-bottom: .5rem }
pre { margin: .25rem 0; padding: .6rem .75rem; overflow: auto; max-height: 20rem; font-size: 13px;
      line-height: 1.45; background: var(--box); border: 1px solid var(--line); border-radius: 4px;
      white-space: pre-wrap; overflow-wrap: anywhere }
pre b { color: var(--c0) }
@media (max-width: 40rem) { svg text { font-size: 13px } }
:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px }
"""
_SAMPLES_SHOWN = 6
_LONG = 30  # characters, from which on a cell may break its lines


def render(card: Card) -> str:
    """Render one run's card."""
    title = f"{card.name}: run card"
    return "\n".join([
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style><main>",
        f"<h1>{escape(title)}</h1>",
        _facts(card),
        _plots(card),
        _samples(card.samples),
        _spikes(card.spikes),
        _starts(card.starts),
        _lineage(card),
        "</main></html>\n",
    ])  # fmt: skip


def _facts(card: Card) -> str:
    steps = card.steps
    if not steps:
        return "<p class=bad>No step was finished."
    planned = card.run["config"]["schedule"]["steps"]
    facts = {
        "steps": f"{steps[-1]['step']:,} of {planned:,}",
        "tokens learnt": f"{sum(row['tokens'] for row in steps):,}",
        "parameters": f"{card.starts[-1]['parameters']:,}" if card.starts else None,
        "loss": _last(steps, "loss", "{:.4f}"),
        "held-out loss": _last(steps, "held_out_loss", "{:.4f}"),
        "held-out holes filled": _last(steps, "fim_exact_match", "{:.1%}"),
        "tokens a second": _median(steps, "tokens_per_s", "{:,.0f}"),
        "MFU": _median(steps, "mfu", "{:.1%}"),
        "spikes": str(len(card.spikes)),
        "starts": str(len(card.starts)),
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>"
                   for name, value in facts.items() if value)  # fmt: skip
    return f"<dl class=facts>{rows}</dl>{_unfinished(steps[-1]['step'], planned)}"


def _unfinished(step: int, planned: int) -> str:
    return "" if step == planned else "<p class=bad>The run has not reached its last step."


def _plots(card: Card) -> str:
    steps = card.steps
    marks = [
        Marks("spike", [row["step"] for row in card.spikes]),
        Marks("restart", [row["step"] for row in card.starts if row["step"]]),
    ]
    languages = sorted({name for row in steps for name in row.get("held_out_by_language") or ()})
    shares = sorted({name for row in steps for name in row.get("mix") or ()})
    drawn = [
        plot("Loss, nats a token", [_line(steps, "loss", "training"),
                                    _line(steps, "held_out_loss", "held out")], marks),
        plot("Held-out loss by language",
             [Line(name, _language(steps, name)) for name in languages], marks),
        plot("Held-out holes filled exactly", [_line(steps, "fim_exact_match", "share", 100)],
             marks, "%"),
        plot("Norm of the gradients", [_line(steps, "grad_norm", "norm")], marks),
        plot("Rate, share of its peak", [_line(steps, "lr_share", "share")], marks),
        plot("Tokens a second", [_line(steps, "tokens_per_s", "tokens")], marks),
        plot("MFU", [_line(steps, "mfu", "MFU", 100)], marks, "%"),
        plot("Rows by source", [Line(name, _source(steps, name)) for name in shares], marks, "%")
        if len(shares) > 1 else "",
        plot("Memory of rank 0, MB", [_line(steps, "rss_mb", "process"),
                                      _line(steps, "gpu_memory_mb", "GPU")], marks),
        plot("GPU load", [_line(steps, "gpu_utilisation", "load", 100)], marks, "%"),
        plot("GPU power, W", [_line(steps, "gpu_power_w", "power")], marks),
    ]  # fmt: skip
    key = (
        "<p class='legend'>Upright lines: <span class=bad>spikes (short dashes)</span>"
        "<span style='color:var(--open)'>restarts (long dashes)</span>"
        if any(mark.steps for mark in marks)
        else ""
    )
    return f"<h2>Curves over the steps</h2>{key}<div class=plots>{''.join(drawn)}</div>"


def _language(steps: Sequence[Row], name: str) -> list[tuple[float, float]]:
    """Held-out loss of one language."""
    return _points(steps, lambda row: (row.get("held_out_by_language") or {}).get(name))


def _source(steps: Sequence[Row], name: str) -> list[tuple[float, float]]:
    """Share in percent that a source has of the rows since the measure before."""

    def share(row: Row) -> float | None:
        mix: Mapping[str, int] | None = row.get("mix")
        return 100 * mix.get(name, 0) / sum(mix.values()) if mix else None

    return _points(steps, share)


def _line(steps: Sequence[Row], key: str, name: str, factor: float = 1) -> Line:
    return Line(name, [(x, y * factor) for x, y in _points(steps, lambda row: row.get(key))])


def _points(steps: Sequence[Row], of: Callable[[Row], Any]) -> list[tuple[float, float]]:
    return [(row["step"], float(y)) for row in steps if (y := of(row)) is not None]


def _samples(samples: Sequence[Row]) -> str:
    if not samples:
        return ""
    parts = ["<h2>The same prompts over time</h2>"]
    for prefix, suffix in dict.fromkeys((row["prefix"], row["suffix"]) for row in samples):
        rows = [row for row in samples if (row["prefix"], row["suffix"]) == (prefix, suffix)]
        label = escape(f"Answers to {prefix[:60]!r} by step", quote=True)
        figures = "".join(map(_answer, _spread(rows)))
        parts.append(f"<div class=answers tabindex=0 role=region aria-label='{label}'>"
                     f"{figures}</div>")  # fmt: skip
    return "".join(parts)


def _spread(rows: Sequence[Row]) -> list[Row]:
    """The first, the last and some between."""
    if len(rows) <= _SAMPLES_SHOWN:
        return list(rows)
    last = len(rows) - 1
    chosen = {round(n * last / (_SAMPLES_SHOWN - 1)) for n in range(_SAMPLES_SHOWN)}
    return [rows[n] for n in sorted(chosen)]


def _answer(row: Row) -> str:
    text = f"{escape(row['prefix'])}<b>{escape(row['middle'])}</b>{escape(row['suffix'])}"
    # A line break right behind <pre> would be dropped, so one is put there.
    return f"<figure><figcaption>step {row['step']:,}</figcaption><pre>\n{text}</pre></figure>"


def _spikes(spikes: Sequence[Row]) -> str:
    if not spikes:
        return "<h2>Spikes</h2><p>None."
    rows = (
        [f"{row['step']:,}", row["why"], row["policy"],
         "again" if row["again"] else "not again: no matter of the data",
         ", ".join(dict.fromkeys(_place(sample) for sample in row["samples"]))]
        for row in spikes
    )  # fmt: skip
    return "<h2>Spikes</h2>" + _table(
        ["step", "what was off", "policy", "scored anew", "samples"], rows
    )


def _place(sample: Mapping[str, str]) -> str:
    where = f"{sample.get('repo', '')}: {sample['path']}" if "path" in sample else ""
    return f"{sample['sample']} {where}".strip()


def _starts(starts: Sequence[Row]) -> str:
    if not starts:
        return ""
    rows = (
        [row["time"], f"{row['step']:,}", str(row["ranks"]), row["device"],
         f"{row['peak_tflops']:,.4g} TFLOP/s, {row['peak_source']}", (row["commit"] or "")[:12]]
        for row in starts
    )  # fmt: skip
    formula = escape(starts[-1]["mfu_formula"])
    return (
        "<h2>Starts</h2>"
        + _table(["time", "from step", "ranks", "device", "peak of all ranks", "commit"], rows)
        + f"<p class=soft>MFU: {formula}, with {starts[-1]['flops_per_token']:,} FLOPs a token."
    )


def _lineage(card: Card) -> str:
    parts = ["<h2>Lineage</h2>"]
    if card.starts:
        last = card.starts[-1]
        facts = {
            "data": last["data_digest"],
            "vocabulary": f"{last['vocabulary']:,} ids, {last['tokenizer_digest']}",
            "began from": card.run.get("init_from") or "nothing",
            "commit": last["commit"] or "unknown",
            "python": last["python"],
            **{f"package {name}": version for name, version in last["packages"].items()},
        }
        parts.append(_table(["what", "which"], facts.items()))
        parts.append(_table(
            ["source", "licences", "documents", "tokens"],
            ([name, ", ".join(row.get("licences", ())), f"{row.get('documents', 0):,}",
              f"{row.get('tokens', 0):,}"] for name, row in last["sources"].items()),
        ))  # fmt: skip
    table = _table(["setting", "value"], _flat(card.run["config"], ""))
    parts.append(f"<details><summary>Settings</summary>{table}</details>")
    return "".join(parts)


def _flat(values: Mapping[str, Any], above: str) -> Iterator[list[str]]:
    """Each setting by its whole name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value not in (None, [], {}):
            yield [above + name, str(value)]


def _last(steps: Sequence[Row], key: str, form: str) -> str | None:
    known = [row[key] for row in steps if row.get(key) is not None]
    return form.format(known[-1]) if known else None


def _median(steps: Sequence[Row], key: str, form: str) -> str | None:
    known = [row[key] for row in steps if row.get(key) is not None]
    return form.format(statistics.median(known)) if known else None


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = "".join(f"<th scope=col>{escape(name)}" for name in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) for row in rows)
    return f"<div class=wide tabindex=0><table><thead><tr>{names}<tbody>{body}</table></div>"


def _cell(text: str) -> str:
    words = " class=words" if len(text) > _LONG else ""
    return f"<td{words}>{escape(text)}"
