"""Compare what judging a program costs with what the same program costs by hand, in each language.

    python docs/results/languages.py --turns 3 >docs/results/languages.json

By hand: a person's plainest command, without a sandbox, in a folder that is thrown away. Ours: the
judge, with a sandbox to compile in and another to run in. Both get the references of `core`, in
turns, so that what else the machine does meets both alike. Processor time counts everything, also
evalkit's own (`meter.py`); what is spent once, for the first program of a session, stands apart.
Read `_compare` first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.results.meter import metered
from evalkit.benchmarks.core import Core
from evalkit.execution import Limits
from evalkit.neutral import NeutralProblem
from evalkit.problem import Judge, Outcome, Problem, Sample
from evalkit.rendering import program_of, solution_of
from evalkit.runtimes import Runtime
from evalkit.session import judging_in
from evalkit.toolchains import chosen, missing_programs, search_path

BY_HAND = {
    "ada": "gnatmake -q main.adb && ./main",
    "c": "gcc -o main main.c -lm && ./main",
    "clojure": "clojure main.clj",
    "cpp": "g++ -o main main.cpp && ./main",
    "csharp": "mcs -nologo -out:main.exe Solution.cs Harness.cs && mono main.exe",
    "d": "ldc2 -of=program main.d solution.d && ./program",
    "elixir": "elixir main.exs",
    "go": "go build -o main solution.go main.go && ./main",
    "haskell": "ghc -v0 -o main Main.hs && ./main",
    "java": "javac Solution.java Main.java && java Main",
    "javascript": "node main.js",
    "kotlin": "kotlinc solution.kt main.kt -include-runtime -d main.jar && java -jar main.jar",
    "lisp": "sbcl --script main.lisp",
    "lua": "lua5.4 main.lua",
    "ocaml": "ocamlopt -o main solution.ml main.ml && ./main",
    "perl": "perl main.pl",
    "php": "php main.php",
    "r": "Rscript main.R",
    "racket": "racket main.rkt",
    "ruby": "ruby main.rb",
    "rust": "rustc --edition 2021 -o main main.rs && ./main",
    "scala": "scalac Solution.scala Main.scala && scala Main",
    "shell": "bash main.sh",
    "typescript": "tsc --target es2022 --module commonjs solution.ts && node main.js",
}
_NONCE = "0123456789abcdef0123456789abcdef"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Compare judging with running by hand.")
    parser.add_argument("--lang", default="all", help="languages, comma-separated, or all")
    parser.add_argument("--turns", type=int, default=3, help="of all programs (default 3)")
    parser.add_argument("--programs", type=int, help="only so many of each language")
    args = parser.parse_args()
    rows = {}
    for runtime in chosen(args.lang):
        if runtime.name not in BY_HAND or missing_programs(runtime):
            continue
        row = rows[runtime.name] = anyio.run(_compare, runtime, args.turns, args.programs)
        print(f"{runtime.name}: {row}", file=sys.stderr)
    print(json.dumps({"where": _where(), "turns": args.turns, "languages": rows}, indent=2))


async def _compare(runtime: Runtime, turns: int, count: int | None) -> dict[str, Any]:
    """Measure one language."""
    problems = Core().problems(runtime.name)[:count]
    by_hand: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    with metered() as used_s, tempfile.TemporaryDirectory() as caches:
        began_s = used_s()
        async with judging_in("process") as judge:
            # What a session has then, and a person's caches, stays.
            await _judged(problems[0], turns, judge, used_s)
            once_s = used_s() - began_s
            _by_hand(problems[0], runtime, caches)
            for turn in range(turns):
                for problem in problems:
                    by_hand.append(_by_hand(problem, runtime, caches))
                    ours.append(await _judged(problem, turn, judge, used_s))
    by_hand_s, ours_s = (statistics.fmean(cpu_s for cpu_s, _ in rows) for rows in (by_hand, ours))
    walls = [(hand, judged) for (_, hand), (_, judged) in zip(by_hand, ours, strict=True)]
    return {
        "programs": len(ours),
        "by_hand_cpu_ms": round(1000 * by_hand_s, 1),
        "ours_cpu_ms": round(1000 * ours_s, 1),
        "cpu_times_by_hand": round(ours_s / by_hand_s, 2),
        "by_hand_wall_ms": round(1000 * statistics.median(hand for hand, _ in walls), 1),
        "ours_wall_ms": round(1000 * statistics.median(judged for _, judged in walls), 1),
        "wall_times_by_hand": round(statistics.median(judged / hand for hand, judged in walls), 2),
        "once_cpu_ms": round(1000 * (once_s - ours_s)),
    }


async def _judged(
    problem: Problem, turn: int, judge: Judge, used_s: Callable[[], float]
) -> tuple[float, float]:
    """Judge the reference; return processor seconds of all that takes part, and wall seconds."""
    # Another text each turn: what was compiled before would not be compiled again.
    sample = Sample(problem.task_id, turn, (problem.reference or "") + " " * turn)
    before_s, began = used_s(), time.monotonic()
    verdict = await judge.judge(problem, sample, Limits())
    if verdict.outcome is not Outcome.PASSED:
        raise SystemExit(f"{problem.language}: {verdict}")
    return used_s() - before_s, time.monotonic() - began


def _by_hand(problem: Problem, runtime: Runtime, caches: str) -> tuple[float, float]:
    """Run the reference without any protection; return processor and wall seconds."""
    neutral = NeutralProblem.of(problem.tests["neutral"], problem.task_id)
    source = program_of(neutral, runtime, solution_of(problem, runtime, problem.reference or ""))
    env = _person(runtime, caches)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in source.items():
            Path(folder, name).write_bytes(content)
        began = time.monotonic()
        started = subprocess.Popen(
            ["sh", "-c", BY_HAND[runtime.name]],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert started.stdin is not None
        assert started.stdout is not None
        with started.stdin as stdin, started.stdout as stdout:
            stdin.write(f"{_NONCE}\n".encode())
            stdin.close()
            said = stdout.read()
        _, status, used = os.wait4(started.pid, 0)
        wall_s = time.monotonic() - began
        started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode or _NONCE.encode() not in said:
        raise SystemExit(
            f"{runtime.name}: {problem.task_id}: by hand: {started.returncode} {said!r}"
        )
    return used.ru_utime + used.ru_stime, wall_s


def _person(runtime: Runtime, caches: str) -> Mapping[str, str]:
    """The environment of somebody whose caches are warm."""
    return {
        "PATH": os.pathsep.join(search_path(runtime)),
        "HOME": caches,
        "LANG": "C.UTF-8",
        "GO111MODULE": "off",
    }


def _where() -> dict[str, Any]:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    words = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


if __name__ == "__main__":
    main()
