"""Options that several subcommands share, and how their words are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from evalkit.executors import EXECUTORS
from evalkit.problem import Benchmark
from evalkit.sandbox import SANDBOXES
from evalkit.toolchains import lacks
from tabwright.errors import InvalidRequest


def whole_numbers(text: str) -> list[int]:
    """Read a list such as 1,10,100."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; give whole numbers, such as 1,10") from None


def add_benchmark(parser: argparse.ArgumentParser) -> None:
    """Which problems."""
    parser.add_argument("--benchmark", default="humaneval", help="name (see `evalkit list`)")
    parser.add_argument(
        "--path", help="its file or folder, where it is not bundled; or hf://owner/name[/file]"
    )
    parser.add_argument("--lang", default="python", help="languages, comma-separated, or all")


def add_sandbox(parser: argparse.ArgumentParser) -> None:
    """Where programs run."""
    parser.add_argument("--sandbox", choices=tuple(SANDBOXES), default="process")
    parser.add_argument(
        "--executor", choices=tuple(EXECUTORS), default="local", help="where judges work"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=default_jobs(),
        help="programs at a time (default: one more than there are cores)",
    )


def default_jobs() -> int:
    """How many samples are judged at a time: one is always between two processes."""
    return len(os.sched_getaffinity(0)) + 1


def chosen_languages(text: str, benchmark: Benchmark) -> list[str]:
    """The languages that were asked for.

    Raises:
        InvalidRequest: the benchmark has no problems in one of them.
    """
    if text == "all":
        return list(benchmark.languages)
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    for name in chosen:
        if name not in benchmark.languages:
            known = ", ".join(benchmark.languages)
            raise InvalidRequest("lang", name, f"{benchmark.name} has {known}")
    if not chosen:
        raise InvalidRequest("lang", text, "name a language, or all")
    return chosen


def without_missing(text: str, languages: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Where all languages were asked for: those that are installed, and why the others are not."""
    if text != "all":
        return list(languages), {}
    skipped = {name: why for name in languages if (why := lacks(name))}
    return [name for name in languages if name not in skipped], skipped


def check_jobs(jobs: int) -> int:
    """At least one program at a time.

    Raises:
        InvalidRequest: fewer.
    """
    if jobs < 1:
        raise InvalidRequest("jobs", jobs, "give at least 1")
    return jobs
