"""`evalkit passk`: draw samples of a model, judge them in a sandbox, score pass@k."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from evalkit.commands.options import (
    add_benchmark,
    add_sandbox,
    check_jobs,
    chosen_languages,
    whole_numbers,
    without_missing,
)
from evalkit.commands.report import table
from evalkit.contamination import FILE, Contamination
from evalkit.execution import Limits
from evalkit.executors import judging
from evalkit.generate import Endpoint, Recorded, References, SampleSource
from evalkit.hub import local_path
from evalkit.model_server import model_digest, serving
from evalkit.page import render
from evalkit.passk import Places, evaluate, judge_references, limits_for
from evalkit.problem import Benchmark, Judge, Outcome, Problem, Verdict
from evalkit.progress import Progress
from evalkit.registry import load_benchmark
from evalkit.reporting import language_row
from evalkit.runs import PAGE, RunFolder, claimed, write_report
from evalkit.score import totals
from evalkit.specimens import run_specimens
from tabwright import __version__
from tabwright.errors import Broken, InvalidRequest


class ReferenceFailed(Broken):
    """A benchmark's own solution does not pass here, so nothing it judges can be believed."""


def main(argv: Sequence[str]) -> int:
    """Run, print the score, and say whether it is as high as was asked."""
    args = _parser().parse_args(argv)
    report = anyio.run(_run, args)
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0 if _high_enough(report, args.fail_under) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evalkit passk",
        description="Draw samples of a model, judge them in a sandbox, score pass@k. "
        "A run that was stopped goes on where it was when it is started again.",
        epilog="Example: evalkit passk --lang python --endpoint http://127.0.0.1:8123 -n 20 "
        "-k 1,10 --fail-under pass@1=0.30",
    )
    add_benchmark(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--endpoint", help="a completion server, by its address")
    source.add_argument("--artifact", type=Path, help="a model folder, served for the run")
    source.add_argument("--samples", type=Path, help="JSON lines with task_id and completion")
    source.add_argument("--references", action="store_true", help="the benchmark's own solutions")
    parser.add_argument("-n", type=int, help="samples a problem (default: the largest k)")
    parser.add_argument("-k", type=whole_numbers, default=[1], help="list of k (default 1)")
    parser.add_argument("--model", default="", help="model name for the server")
    parser.add_argument("--temperature", type=float, default=0.2)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time")
    parser.add_argument("--problems", type=int, help="only so many problems of each language")
    parser.add_argument("--allow-partial", action="store_true", help="score what has samples")
    parser.add_argument("--within-ms", type=float, help="also score what came within this time")
    parser.add_argument(
        "--contamination", type=Path, metavar="FILE", help="tasks that the model has met"
    )
    parser.add_argument("--fail-under", help="exit 1 below this, such as pass@1=0.30")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<name>)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_sandbox(parser)
    return parser


@dataclass(frozen=True, slots=True)
class _Asked:
    """A checked command line."""

    benchmark: Benchmark
    problems: Mapping[str, Sequence[Problem]]
    n: int
    places: Places
    recorded: Recorded | None
    contamination: Contamination | None


async def _run(args: argparse.Namespace) -> dict[str, Any]:
    asked = _asked(args)
    folder = args.out or Path("runs") / f"{asked.benchmark.name}-{'-'.join(asked.problems)}"
    with _served(args) as url:
        source = _source(args, url, asked)
        plan = _plan(args, asked, source)
        with claimed(folder, plan):
            report = await _judged(args, asked, source, plan, folder)
            write_report(folder, report, render(report, run_specimens(folder, report)))
    print(f"report: {folder}/{PAGE}", file=sys.stderr)
    return report


async def _judged(
    args: argparse.Namespace,
    asked: _Asked,
    source: SampleSource,
    plan: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Judge every language, and make the report."""
    started = time.time()
    rows: dict[str, Any] = {}
    async with judging(args.executor, args.sandbox, asked.places.judges) as judge:
        for language, problems in asked.problems.items():
            own = folder / language if len(asked.problems) > 1 else folder
            with RunFolder(own, plan) as run:
                await _language(problems, asked, source, judge, run)
                rows[language] = language_row(
                    run, problems, args.k, args.within_ms, asked.contamination
                )
    report: dict[str, Any] = {
        "benchmark": asked.benchmark.name,
        "plan": plan,
        "left_out": dict(asked.benchmark.left_out),
        "languages": rows,
    }
    return report | totals(rows.values()) | {"seconds": round(time.time() - started, 1)}


def _plan(args: argparse.Namespace, asked: _Asked, source: SampleSource) -> dict[str, Any]:
    """What is asked for; a folder holds the run of one plan."""
    described = dict(source.describe())
    if args.artifact:
        described.pop("endpoint")  # the port is another one each time
        described |= {"artifact": str(args.artifact), "digest": model_digest(args.artifact)}
    return {
        "benchmark": asked.benchmark.name,
        "languages": list(asked.problems),
        "n": asked.n,
        "problems": args.problems,
        "source": described,
        "evalkit": __version__,
    }


async def _language(
    problems: Sequence[Problem], asked: _Asked, source: SampleSource, judge: Judge, run: RunFolder
) -> None:
    language = problems[0].language
    with Progress(f"{language}: references", sum(p.reference is not None for p in problems)) as bar:
        references = await judge_references(problems, judge, asked.places.judges, bar.seen)
    failed = [v for v in references.values() if v.outcome is not Outcome.PASSED]
    if failed:
        shown = "; ".join(f"{v.task_id} {v.outcome}: {v.detail}" for v in failed[:3])
        raise ReferenceFailed(
            f"{len(failed)} of {len(references)} references of {asked.benchmark.name} in "
            f"{language} do not pass here; run `evalkit check`. {shown}"
        )
    with Progress(language, asked.n * len(problems)) as bar:
        limits = _limits(problems, references)
        await evaluate(problems, asked.n, source, judge, run, limits, asked.places, bar.seen)


def _limits(problems: Sequence[Problem], references: Mapping[str, Verdict]) -> dict[str, Limits]:
    took = {task_id: verdict.cpu_s for task_id, verdict in references.items()}
    return {p.task_id: limits_for(took.get(p.task_id)) for p in problems}


def _asked(args: argparse.Namespace) -> _Asked:
    benchmark = load_benchmark(args.benchmark, local_path(args.path))
    languages, missing = without_missing(args.lang, chosen_languages(args.lang, benchmark))
    for language, why in missing.items():
        print(f"{language} is left out: {why}", file=sys.stderr)
    if args.problems is not None and args.problems < 1:
        raise InvalidRequest("problems", args.problems, "give at least 1")
    problems = {lang: benchmark.problems(lang)[: args.problems] for lang in languages}
    n = args.n if args.n is not None else max(args.k)
    if n < max(args.k):
        raise InvalidRequest("n", n, f"pass@{max(args.k)} needs at least {max(args.k)} samples")
    for name, number in (("k", min(args.k)), ("concurrency", args.concurrency)):
        if number < 1:
            raise InvalidRequest(name, number, "give at least 1")
    least = threshold(args.fail_under)
    if least is not None and least[0] not in map(str, args.k):
        fix = f"pass@{least[0]} is not scored; add it to -k"
        raise InvalidRequest("fail-under", args.fail_under, fix)
    places = Places(check_jobs(args.jobs), args.concurrency)
    recorded = Recorded(args.samples) if args.samples else None
    if recorded is not None:
        problems = _with_samples(problems, recorded, n, args.allow_partial)
    return _Asked(benchmark, problems, n, places, recorded, _contamination(args, benchmark.name))


def _contamination(args: argparse.Namespace, benchmark: str) -> Contamination | None:
    """The list that was named, or the one that came with the model."""
    path = args.contamination
    if path is None and args.artifact and (args.artifact / FILE).is_file():
        path = args.artifact / FILE
    return Contamination.read(path, benchmark) if path is not None else None


def _with_samples(
    problems: Mapping[str, Sequence[Problem]], recorded: Recorded, n: int, partial: bool
) -> dict[str, Sequence[Problem]]:
    """The problems that have n samples in the file; all must have them unless `partial`."""
    known = {p.task_id for rows in problems.values() for p in rows}
    if len(known) < sum(map(len, problems.values())):
        fix = "tasks are called the same in these languages, so name one for a file of samples"
        raise InvalidRequest("lang", ",".join(problems), fix)
    strangers = sorted(set(recorded.task_ids) - known)
    if strangers:
        raise InvalidRequest("samples", strangers[0], "the benchmark has no such task_id")
    short = [p for rows in problems.values() for p in rows if recorded.count(p.task_id) < n]
    if short and not partial:
        raise InvalidRequest(
            "samples",
            f"{short[0].task_id} has {recorded.count(short[0].task_id)}",
            f"{len(short)} problems have fewer than n = {n}; give more, or --allow-partial",
        )
    kept = {
        lang: [p for p in rows if recorded.count(p.task_id) >= n] for lang, rows in problems.items()
    }
    kept = {lang: rows for lang, rows in kept.items() if rows}
    if not kept:
        raise InvalidRequest("samples", "none", f"no problem has n = {n} samples")
    return dict(kept)


def _served(args: argparse.Namespace) -> AbstractContextManager[str]:
    return serving(args.artifact) if args.artifact else nullcontext(args.endpoint or "")


def _source(args: argparse.Namespace, url: str, asked: _Asked) -> SampleSource:
    if asked.recorded is not None:
        return asked.recorded
    if args.references:
        for rows in asked.problems.values():
            for problem in rows:
                if problem.reference is None:
                    raise InvalidRequest("references", problem.task_id, "it has no reference")
        return References()
    return Endpoint(
        url,
        model=args.model,
        api_key=os.environ.get("EVALKIT_API_KEY", ""),
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_tokens,
        seed=args.seed,
    )


def threshold(text: str | None) -> tuple[str, float] | None:
    """Read `pass@1=0.30`.

    Raises:
        InvalidRequest: it is nothing of that form.
    """
    if text is None:
        return None
    name, _, value = text.partition("=")
    k = name.removeprefix("pass@")
    try:
        least = float(value)
        if not name.startswith("pass@") or not 0 <= least <= 1:
            raise ValueError
        return str(int(k)), least
    except ValueError:
        fix = "give such as pass@1=0.30, with a share from 0 to 1"
        raise InvalidRequest("fail-under", text, fix) from None


def _high_enough(report: Mapping[str, Any], fail_under: str | None) -> bool:
    asked = threshold(fail_under)
    if asked is None:
        return True
    k, least = asked
    for language, row in report["languages"].items():
        found = row["pass_at_k"].get(k)
        if found is None or found["value"] < least:
            said = f"{found['value']:.4f} < {least:g}" if found else "has no score: too few judged"
            print(f"{language}: pass@{k} {said}", file=sys.stderr)
            return False
    return True
