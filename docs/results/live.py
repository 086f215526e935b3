"""Score what `make serve` serves over HTTP: `python docs/results/live.py >docs/results/live.json`.

Starts the bundled model on a free port and asks it for a few samples of each problem, with seeds.
The run folders, with their HTML reports, stay in a folder that is named on stderr and in the
result. A few minutes on an idle machine of two cores. What it scores is a demonstration that the
path works from server to report; the model is far too small to solve much. Read `main` first.
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
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.model_server import serving
from server.settings import BUNDLED_MODEL

EVALKIT = [sys.executable, "-c", "import sys; from evalkit.cli import main; sys.exit(main())"]


class Row(NamedTuple):
    """One command: a benchmark, and how much of it is asked."""

    benchmark: str
    languages: str
    n: int
    max_tokens: int
    more: tuple[str, ...] = ()


ROWS = (
    Row("core", "python,javascript,go", 4, 256),
    Row("humaneval", "python", 2, 256, ("--problems", "40")),
    Row("infilling", "python", 1, 64),
    Row("web", "html", 1, 512),
)


def main() -> int:
    """Serve, score, and print."""
    parser = argparse.ArgumentParser(description="Score the bundled model over HTTP.")
    parser.add_argument("--only", help="benchmarks, comma-separated (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    only = args.only.split(",") if args.only else [row.benchmark for row in ROWS]
    folder = Path(tempfile.mkdtemp(prefix="evalkit-live-"))
    began = time.monotonic()
    with serving(BUNDLED_MODEL) as url:
        runs = [_scored(row, url, folder, args.seed) for row in ROWS if row.benchmark in only]
    report = {
        "where": _where(),
        "command": " ".join(["python", "docs/results/live.py", *sys.argv[1:]]),
        "model": BUNDLED_MODEL.name,
        "seconds": round(time.monotonic() - began),
        "runs": runs,
    }
    print(json.dumps(report, indent=2))
    print(f"reports: {folder}/*/report.html", file=sys.stderr)
    return 0


def _scored(row: Row, url: str, folder: Path, seed: int) -> dict[str, Any]:
    """Run one command as a user does, and keep what it says of each language."""
    words = ["passk", "--benchmark", row.benchmark, "--lang", row.languages, "--endpoint", url]
    words += ["-n", str(row.n), "-k", ",".join(sorted({"1", str(row.n)})), "--seed", str(seed)]
    words += ["--max-tokens", str(row.max_tokens), "--within-ms", "300", *row.more]
    out = folder / row.benchmark
    report = json.loads(_said([*words, "--out", str(out), "--json"]))
    assert (out / "report.html").is_file()
    kept = ("tasks", "samples", "passed", "failed", "unjudged", "outcomes", "pass_at_k")
    return {
        "command": " ".join(["evalkit", *words]).replace(url, "URL"),
        "seconds": report["seconds"],
        "languages": {
            name: {key: found[key] for key in kept} for name, found in report["languages"].items()
        },
    }


def _said(words: Sequence[str]) -> bytes:
    ran = subprocess.run([*EVALKIT, *words], stdout=subprocess.PIPE, check=True, timeout=900)
    return ran.stdout


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
    sys.exit(main())
