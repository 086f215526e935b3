"""`evalkit render`: the prompt of a neutral problem in a language, as a model gets it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

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
    args = parser.parse_args(argv)
    runtime = load_runtime(args.lang)
    neutral = suited(NeutralProblem.read(args.problem), runtime)
    if args.program is None:
        print(prompt_of(neutral, runtime), end="")
        return 0
    try:
        completion = args.program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest("program", str(args.program), f"give a text: {error}") from None
    solution = solution_of(render(neutral, runtime), runtime, completion)
    for name, content in program_of(neutral, runtime, solution).items():
        print(f"==> {name}\n{content.decode()}")
    return 0
