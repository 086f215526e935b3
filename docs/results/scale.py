"""What a run of a million samples costs: `python docs/results/scale.py > docs/results/scale.json`.

A run folder of HumanEval is filled with made-up samples and verdicts, then the real command goes
on with it: it finds nothing left to do and scores. Its own peak memory and time are what is told,
beside those of a run a hundred times smaller. No program of a sample is run here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.registry import load_benchmark

EVALKIT = [sys.executable, "-c", "import sys; from evalkit.cli import main; sys.exit(main())"]
SIZES = (61, 6098)  # samples of each of 164 problems: ten thousand, and a million


def fill(folder: Path, n: int) -> Path:
    """Write the samples to score, and a run folder in which all of them are judged."""
    recorded = folder / "samples.jsonl"
    run = folder / "run"
    run.mkdir()
    with (
        recorded.open("w") as given,
        (run / "samples.jsonl").open("w") as samples,
        (run / "verdicts.jsonl").open("w") as verdicts,
    ):
        for problem in load_benchmark("humaneval").problems("python"):
            text = problem.reference or ""
            for index in range(n):
                key = {"task_id": problem.task_id, "index": index}
                given.write(json.dumps({"task_id": problem.task_id, "completion": text}) + "\n")
                sample = key | {"completion": text, "generated_ms": float(index % 600)}
                samples.write(json.dumps(sample) + "\n")
                outcome = "passed" if index % 3 else "wrong"
                verdicts.write(json.dumps(key | {"outcome": outcome}) + "\n")
    return recorded


def measure(n: int) -> dict[str, float]:
    """Resume and score one such run."""
    with tempfile.TemporaryDirectory() as name:
        recorded = fill(Path(name), n)
        words = ["passk", "--samples", str(recorded), "-n", str(n), "-k", "1,10"]
        words += ["--within-ms", "300", "--json", "--out", f"{name}/run"]
        began = time.monotonic()
        with subprocess.Popen([*EVALKIT, *words], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            report = json.load(process.stdout)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert report["passed"] + report["failed"] == 164 * n
    return {
        "samples": 164 * n,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    load = os.getloadavg()[0]
    rows = [measure(n) for n in SIZES]
    print(json.dumps({"load": round(load, 1), "runs": rows}, indent=2))
