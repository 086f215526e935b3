"""`evalkit render`: the prompt of a neutral problem in a language, as a model gets it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.neutral import NeutralProblem
from evalkit.rendering import program_of, prompt_of, render, solution_of, suited
from evalkit.runtimes import load_runtime
from tabwright.errors import InvalidRequest


def main(argv: Sequence[str]) -> int:
    """Print the prompt, or with --program all that is run."""
    parser = argparse.ArgumentParser(
        prog="evalkit render",
        description="Print a neutral problem as the prompt of one language.",
        epilog="Example: evalkit render --problem FOLDER/problem.json --lang go",
    )
    parser.add_argument("--problem", type=Path, required=True, help="a problem.json")
    parser.add_argument("--lang", required=True, help="one language")
    parser.add_argument("--program", type=Path, metavar="COMPLETION", help="print the program too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    runtime = load_runtime(args.lang)
    neutral = suited(NeutralProblem.read(args.problem), runtime)
    report: dict[str, Any] = {"prompt": prompt_of(neutral, runtime)}
    if args.program is not None:
        try:
            completion = args.program.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest("program", str(args.program), f"give a text: {error}") from None
        solution = solution_of(render(neutral, runtime), runtime, completion)
        files = program_of(neutral, runtime, solution)
        report["files"] = {name: content.decode() for name, content in files.items()}
    if args.json:
        print(json.dumps(report, indent=2))
    elif args.program is None:
        print(report["prompt"], end="")
    else:
        for name, content in report["files"].items():
            print(f"==> {name}\n{content}")
    return 0
