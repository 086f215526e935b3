"""The `evalkit` command: picks a subcommand and loads it on use. Exit codes are `tabwright`'s.

    0 done · 1 a score or a check is below what was asked · 2 the caller can fix it · 3 try later or
    an operator must act · 4 our bug or corrupt data · 130 interrupted

Results go to stdout (JSON with --json), everything else to stderr. Read `main` first.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from evalkit.commands import COMMANDS
from tabwright import __version__
from tabwright.cli import run_command
from tabwright.errors import InvalidRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args and args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args and args[0] in ("-V", "--version"):
        print(f"evalkit {__version__}")
        return 0
    return run_command("evalkit", lambda: _run(args))


def usage() -> str:
    """Help text of the bare command."""
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:<{width}}{text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: evalkit COMMAND [options]\n\n"
        "Pass@k that can be trusted.\n\n"
        f"commands:\n{rows}\n\n"
        "exit codes: 0 done, 1 below what was asked, 2 wrong use, 3 try later or unavailable,\n"
        "4 broken, 130 interrupted\n\n"
        "Example: evalkit passk --lang python --endpoint http://127.0.0.1:8123 -n 20 -k 1,10"
    )


def _run(args: Sequence[str]) -> int:
    if not args:
        print(usage(), file=sys.stderr)
        return 2
    name = args[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"
        raise InvalidRequest("command", name, hint)
    module, _, attribute = COMMANDS[name][0].partition(":")
    code: int = getattr(importlib.import_module(module), attribute)(args[1:])
    return code
