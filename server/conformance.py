"""`tabwright conformance`: does a completion server, ours or any other, free what is abandoned?

    paths × protocols → milliseconds until the slot is free → pass, fail, or why it is not known

Everything is seen from outside (`server.conformance_view`); what only the inside shows, leaks and
neighbours' answers, `server.cancel_bench` measures. At most `--most` requests and a few more run at
once, at the one address that was given. Exit codes: 0 every path seen passed, 1 one failed, 3 none
could be seen, and those of every command. Read `examine` first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio

from server.conformance_client import Client, Load, Pace
from server.conformance_paths import PATHS, Bench, Missing, Path, Verdict, measure
from server.conformance_protocols import SPEECHES, Speech
from server.conformance_view import Gauges, NotObservable, Observer, Probe, find_gauges
from server.listener import loop_options
from server.raw_client import Target, Unreachable, send
from tabwright.errors import CallerError, ConfigError, Unavailable

_FAILED = 1
_WIDTH = 22
_LONG_ENOUGH = 3  # times the limit; a shorter answer proves nothing when it ends


class Refused(CallerError):
    """The server wants another key or another model."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and where."""

    target: Target
    model: str | None
    protocols: Sequence[Speech]
    rounds: int
    most: int
    limit_ms: float
    time_limit_s: float
    proxied: Target | None = None
    metrics: Target | None = None
    gauges: Sequence[str] = ()


def main(argv: Sequence[str]) -> int:
    """Measure, print, and say by the exit code whether every path passed."""
    given = _parser().parse_args(argv)
    names = given.protocols.split(",") if given.protocols else list(SPEECHES)
    for name in names:
        if name not in SPEECHES:
            raise ConfigError(f"--protocols: {name!r} is unknown; known are {', '.join(SPEECHES)}")
    options = Options(
        target=Target.parse(given.base_url, given.api_key),
        model=given.model,
        protocols=[SPEECHES[name] for name in names],
        rounds=given.rounds,
        most=given.most,
        limit_ms=given.limit_ms,
        time_limit_s=given.time_limit,
        proxied=Target.parse(given.proxied_url, given.api_key) if given.proxied_url else None,
        metrics=Target.parse(given.metrics_url) if given.metrics_url else None,
        gauges=given.gauges.split(",") if given.gauges else (),
    )
    report = anyio.run(partial(examine, options), backend_options=loop_options())
    report = {"server": given.base_url, **report}
    print(json.dumps(report, indent=2) if given.json else table(report))
    verdicts = [cell["verdict"] for _, _, cell in _cells(report)]
    if Verdict.FAIL in verdicts:
        return _FAILED
    if Verdict.PASS not in verdicts:
        raise NotObservable("nothing could be seen of this server; the report says why")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright conformance",
        description="Measure how soon a completion server frees the slot of an abandoned request. "
        "Exit codes: 0 all that could be seen passed, 1 a path failed, 3 nothing could be seen.",
        epilog="Example: tabwright conformance --base-url http://127.0.0.1:8123",
    )
    add = parser.add_argument
    add("--base-url", required=True, metavar="URL", help="the server; an idle one")
    add("--api-key", metavar="KEY", help="sent as bearer")
    add("--model", help="name of the model (default: the first that the server lists)")
    add("--rounds", type=_count, default=10, help="abandoned requests a cell (default: 10)")
    add("--protocols", metavar="A,B", help=f"some of {','.join(SPEECHES)} (default: all)")
    add("--proxied-url", metavar="URL", help="the same server behind a proxy, measured too")
    add("--metrics-url", metavar="URL", help="page with its gauges (default: /metrics, /slots)")
    add(
        "--gauges", metavar="A,B", help="names of gauges that count what runs (default: known ones)"
    )
    add("--most", type=_count, default=16, help="requests at once to fill it (default: 16)")
    add("--limit-ms", type=float, default=20, help="allowed beside one step and one look (20)")
    add("--time-limit", type=float, default=600, metavar="S", help="for everything (default: 600)")
    add("--json", action="store_true", help="print JSON on stdout")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


async def examine(options: Options) -> dict[str, Any]:
    """Measure every path in every protocol that the server speaks.

    Raises:
        Unreachable: nobody answers. Refused: the key or the model is wrong.
    """
    ends = time.monotonic() + options.time_limit_s
    client = Client(options.target, options.model or await _first_model(options.target))
    unspoken = {row.name: await _why_unspoken(client, row) for row in options.protocols}
    report: dict[str, Any] = {"model": client.model, "allowed_ms": options.limit_ms}
    report["protocols"] = {}
    paces = {
        row.name: await client.pace(row) for row in options.protocols if not unspoken[row.name]
    }
    streaming = [row for row in options.protocols if row.name in paces and row.stream_path]
    try:
        async with _observed(options, client, streaming, paces) as (observer, load):
            report |= {"kind": observer.server, "seen_by": observer.means}
            for row in options.protocols:
                if why := unspoken[row.name]:
                    report["protocols"][row.name] = {"spoken": False, "why": why}
                    continue
                pace = paces[row.name]
                pace = replace(pace, gaps_s=pace.gaps_s or paces[streaming[0].name].gaps_s)
                bench = Bench(
                    client,
                    row,
                    observer,
                    load,
                    pace,
                    rounds=options.rounds,
                    most=options.most,
                    allowed_ms=options.limit_ms,
                    proxied=options.proxied,
                )
                report["protocols"][row.name] = await _protocol(bench, ends)
            report["look_ms"] = round(observer.grain_ms, 2)
    except (NotObservable, ExceptionGroup) as error:
        fault = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        if not isinstance(fault, NotObservable):
            raise fault from None
        report |= {"kind": "unknown", "seen_by": f"nothing: {fault}"}
    return report


@asynccontextmanager
async def _observed(
    options: Options, client: Client, streaming: Sequence[Speech], paces: dict[str, Pace]
) -> AsyncIterator[tuple[Observer, Load]]:
    if not streaming:
        raise NotObservable("the server streams in none of the protocols that were asked for")
    async with anyio.create_task_group() as tasks:
        speech = streaming[0]
        load = Load(client, speech, paces[speech.name], tasks)
        found = await find_gauges(options.target, options.metrics, options.gauges)
        if found:
            yield Gauges(*found, load), load
            await found[0].aclose()
        else:
            probe = Probe(client, speech, load)
            await probe.prepare(options.most)
            yield probe, load
        tasks.cancel_scope.cancel()


async def _protocol(bench: Bench, ends: float) -> dict[str, Any]:
    row: dict[str, Any] = {"spoken": True, "answer_ms": round(bench.pace.answer_s * 1000, 1)}
    row["step_ms"] = round(bench.pace.token_s() * 1000, 2)
    row["paths"] = {}
    for name, path in PATHS.items():
        print(f"{bench.speech.name}, {name} …", file=sys.stderr)
        with anyio.move_on_after(ends - time.monotonic()):
            row["paths"][name] = await _cell(bench, path)
        late = {"verdict": Verdict.NOT_OBSERVABLE, "why": "the time limit is over"}
        row["paths"].setdefault(name, late)
    return row


async def _cell(bench: Bench, path: Path) -> dict[str, Any]:
    missing = path.missing(bench)
    if not missing and bench.pace.answer_s * 1000 < _LONG_ENOUGH * bench.limit_ms():
        short = f"answers end by themselves after {bench.pace.answer_s * 1000:.0f} ms"
        missing = Missing(Verdict.NOT_OBSERVABLE, short)
    if missing:
        return {"verdict": missing.verdict, "why": missing.why}
    try:
        samples, limit_ms = await measure(bench, path)
    except (NotObservable, Unreachable) as error:
        return {"verdict": Verdict.NOT_OBSERVABLE, "why": str(error)}
    ordered = sorted(samples)
    p95 = ordered[-(-(len(ordered) - 1) * 95 // 100)]
    return {
        "verdict": Verdict.PASS if p95 <= limit_ms else Verdict.FAIL,
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 2),
        "p95": round(p95, 2),
        "limit_ms": round(limit_ms, 1),
    }


async def _first_model(target: Target) -> str:
    """The model that the server lists first; empty where it lists none."""
    for path, rows, name in (("/v1/models", "data", "id"), ("/api/tags", "models", "name")):
        async with send(target, path, method="GET", headers={"Connection": "close"}) as answer:
            raw = await answer.rest()
        if answer.status == 200:
            try:
                return str(json.loads(raw)[rows][0][name])
            except (ValueError, LookupError, TypeError):
                continue
    return ""


async def _why_unspoken(client: Client, speech: Speech) -> str | None:
    """Ask for one token; None if it was given."""
    async with client.ask(speech, tokens=1) as answer:
        with anyio.move_on_after(60):
            text = (await answer.rest()).decode("utf-8", "replace")
    if not answer.status:
        raise Unavailable(f"no answer to POST {speech.path} within a minute")
    if answer.status in (401, 403):
        raise Refused(f"the server answered {answer.status}; give its --api-key")
    if answer.status == 404 and "model" in text.lower():
        raise Refused(f"the server has no model {client.model!r}; give --model")
    return None if answer.status == 200 else f"answered {answer.status}"


def _cells(report: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (protocol, path, cell)
        for protocol, row in report["protocols"].items()
        for path, cell in row.get("paths", {}).items()
    ]


def table(report: dict[str, Any]) -> str:
    """Lay out a report: a row a path, a column a protocol, the reasons below."""
    protocols = report["protocols"]
    lines = [
        f"{report['server']} ({report['kind']}, model {report['model'] or 'unnamed'})",
        f"seen by {report['seen_by']}; one look costs {report.get('look_ms', '?')} ms",
        "",
        f"{'ms until free, p50 / p95':<26}" + "".join(f"{name:>{_WIDTH}}" for name in protocols),
    ]
    notes: dict[str, list[str]] = {}
    for path in PATHS:
        row = f"{path:<26}"
        for name, protocol in protocols.items():
            cell = protocol.get("paths", {}).get(path, {"verdict": "", "why": ""})
            row += f"{_shown(cell):>{_WIDTH}}"
            if cell.get("why"):
                notes.setdefault(f"{cell['verdict']}: {cell['why']}", []).append(f"{name} {path}")
        lines.append(row)
    lines.append("")
    for name, protocol in protocols.items():
        if not protocol["spoken"]:
            lines.append(f"{name}: not spoken, {protocol['why']}")
    lines += [f"{why} ({', '.join(places)})" for why, places in notes.items()]
    limits = [cell["limit_ms"] for _, _, cell in _cells(report) if "limit_ms" in cell]
    if limits:
        sum_ms = f"{min(limits)} to {max(limits)} ms"
        lines.append(f"limit: {report['allowed_ms']:g} ms + one step + one look = {sum_ms}")
    return "\n".join(lines)


def _shown(cell: dict[str, Any]) -> str:
    if "p95" in cell:
        mark = "" if cell["verdict"] == Verdict.PASS else " FAIL"
        return f"{cell['p50']:g} / {cell['p95']:g}{mark}"
    signs = {Verdict.NOT_APPLICABLE: "–", Verdict.NOT_OBSERVABLE: "?"}
    return signs.get(cell["verdict"], "")
