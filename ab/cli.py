"""`tabwright ab`: flags, events and what they have shown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ab import events_cli, flags_cli, gates_cli, page, preferences_cli, selftest_cli
from ab.acceptance import Weighting
from ab.breakdown import details
from ab.power import detectable
from ab.report import METRICS, MISMATCH, Question, Report, build
from ab.settings import settings_of
from ab.stores.registry import open_store
from tabwright.errors import ConfigError


def main(argv: Sequence[str]) -> int:
    """Run one command; return the exit code.

    Raises:
        ConfigError: an option is wrong, or the store cannot be opened.
        StoreAway: the store does not answer.
    """
    args = _parser().parse_args(argv)
    code: int = args.run(args)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright ab",
        description="Flags, the events that editors report, and what they have shown.",
        epilog="Example: tabwright ab flags list --store ab.sqlite",
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    flags = verbs.add_parser(
        "flags",
        help="list, show, change, try, export and import flags",
        description="Flags. A change needs --why; it is kept with who made it and when.",
        epilog="Example: tabwright ab flags list --store ab.sqlite",
    )
    flags_cli.add_verbs(flags, add_store)
    _add_report(verbs)
    gates_cli.add_verbs(_verb, verbs)
    selftest_cli.add_verb(_verb, verbs)
    preferences_cli.add_verb(_verb, verbs)
    events_cli.add_verbs(_verb, verbs)
    _add_power(verbs)
    verb = verbs.add_parser(
        "simulate",
        help="measure how often the statistics are wrong, on invented developers",
        epilog="Example: tabwright ab simulate --effect 0 --users 400 --days 14 --runs 200",
    )
    for name, kind in (("users", int), ("days", int), ("effect", float), ("before", int),
                       ("runs", int), ("alpha", float), ("mean", float), ("concentration", float),
                       ("volume", float), ("spread", float), ("kept", float),
                       ("kept_concentration", float), ("seed", int)):  # fmt: skip
        verb.add_argument(f"--{name.replace('_', '-')}", type=kind, help="see docs/ab.md")
    verb.add_argument("--gates", type=Path, help="TOML file (default: ab/gates.toml)")
    verb.add_argument("--json", action="store_true", help="print JSON, as it does anyhow")
    verb.set_defaults(run=_simulate)
    return parser


def add_store(verb: argparse.ArgumentParser) -> None:
    """Give a command the options that say where flags and events are."""
    verb.add_argument("--store", help="a file, or redis://host:port/number (default: ab.sqlite)")
    verb.add_argument("--config", type=Path, help="TOML file that names it in [ab]")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(address=lambda args: settings_of(args).store)


def _verb(verbs: Any, name: str, text: str, run: Any, example: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text, epilog=f"Example: tabwright ab {name} {example}"
    )
    add_store(verb)
    verb.set_defaults(run=run)
    return verb


def _add_report(verbs: Any) -> None:
    verb = _verb(verbs, "report", "compare two variants, by user", _report,
                 "--control model-1 --candidate model-2 --since 2026-11-01")  # fmt: skip
    verb.add_argument("--control", required=True, help="variant, which is the model's name")
    verb.add_argument("--candidate", required=True, help="variant that is compared with it")
    verb.add_argument(
        "--since", required=True, type=events_cli.day, help="first day, like 2026-11-01"
    )
    verb.add_argument("--until", type=events_cli.day, help="last day (default: today)")
    verb.add_argument("--before", type=int, default=14, help="days before that reduce noise (14)")
    verb.add_argument("--weights", default="1:1", help="planned users of the two (default: 1:1)")
    verb.add_argument("--html", type=Path, metavar="FILE", help="write a page to look at, too")
    verb.add_argument("--flag", default="", help="compare variants of this flag, not models")
    verb.add_argument("--language", default="", help="of this language only")
    verb.add_argument("--editor", default="", help="of this protocol only")
    verb.add_argument(
        "--weighting", type=Weighting, choices=list(Weighting), default=Weighting.USERS,
        help="users: each user counts the same; sums: each impression",
    )  # fmt: skip


def _add_power(verbs: Any) -> None:
    verb = verbs.add_parser(
        "power",
        help="tell what an experiment of this size can find",
        description="The change of acceptance that is found in 4 of 5 experiments.",
        epilog="Example: tabwright ab power --users 20 --shown 60 --days 14",
    )
    verb.add_argument("--users", type=int, required=True, help="developers in each arm")
    verb.add_argument("--shown", type=float, required=True, help="suggestions a day, to each")
    verb.add_argument("--days", type=int, default=14, help="length of the experiment (14)")
    verb.add_argument("--before", type=int, default=14, help="days before that are known (14)")
    verb.add_argument("--mean", type=float, default=0.28, help="acceptance now (0.28)")
    verb.add_argument("--concentration", type=float, default=7.1,
                      help="how alike the users are, of a Beta distribution (7.1)")  # fmt: skip
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=_power)


def _report(args: argparse.Namespace) -> int:
    until = args.until or datetime.now(UTC).date()
    if args.before < 0 or until < args.since:
        raise ConfigError("--since, --until, --before: give days in order, and none below zero")
    question = Question(
        args.control, args.candidate, args.since, until, args.before, _weights(args.weights),
        args.language, args.editor, args.flag, args.weighting,
    )  # fmt: skip
    with closing(open_store(args.address(args))) as store:
        events_cli.count_all(store)
        cells = list(store.cells())
    report = build(cells, question)
    if not args.json and args.html is None:
        print(_text(question, report))
        return 0
    more = details(cells, question)
    if args.html is not None:
        _write(args.html, page.render(question, report, more))
    print(json.dumps(asdict(report) | {"details": asdict(more)}) if args.json
          else _text(question, report))  # fmt: skip
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html: {path} cannot be written: {error.strerror}") from None


def _text(question: Question, report: Report) -> str:
    table = [("metric", "control", "candidate", "difference", "95 % at every look", "p (Holm)")]
    for row in report.rows:
        table.append((
            row.metric, f"{row.control:.4g}", f"{row.candidate:.4g}", f"{row.difference:+.4g}",
            f"{row.low:+.4g} to {row.high:+.4g}", f"{row.holm_p:.3g}",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        f"{question.candidate} against {question.control}, {question.since} to {question.until}",
        f"users {report.users[0]} and {report.users[1]}; left out, with both: {report.both}",
        *("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table),
    ]
    if report.missing:
        lines.append(f"nothing, or nothing that differs, to compare: {', '.join(report.missing)}")
    if report.nameless:
        lines.append(f"{report.nameless} requests of nobody known are not counted")
    if report.mismatch_p < MISMATCH:
        lines.append(
            f"DO NOT BELIEVE THIS: users are not split as planned (p = {report.mismatch_p:.2g})"
        )
    return "\n".join(lines)


def _power(args: argparse.Namespace) -> int:
    right = args.users > 1 and args.shown > 0 and args.days > 0 and 0 < args.mean < 1
    if not right or args.concentration <= 0 or args.before < 0:
        raise ConfigError("--users, --shown, --days, --before, --mean: give possible numbers")
    found = detectable(
        args.users, args.shown, args.days, args.before, args.mean, args.concentration,
        METRICS["acceptance"].expected,
    )  # fmt: skip
    if args.json:
        print(json.dumps({"difference": found, "relative": found / args.mean}))
    else:
        print(
            f"{2 * args.users} developers, {args.shown:g} shown a day to each: {args.days} days "
            f"find a change of acceptance by {100 * found:.1f} points, {found / args.mean:.0%}"
        )
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from ab.gates import load_gates
    from ab.simulation import Plan, simulate

    names = [field.name for field in fields(Plan)]
    plan = Plan(**{name: v for name in names if (v := getattr(args, name)) is not None})
    print(
        json.dumps(
            {"plan": asdict(plan), "outcome": asdict(simulate(plan, load_gates(args.gates)))},
            indent=2,
        )
    )
    return 0


def _weights(text: str) -> tuple[float, float]:
    try:
        one, other = (float(part) for part in text.split(":"))
    except ValueError:
        one = other = 0.0
    if not (0 < one < 1e9 and 0 < other < 1e9):
        raise ConfigError(f"--weights {text!r}: write two positive numbers like 90:10")
    return one, other
