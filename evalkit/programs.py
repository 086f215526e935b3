"""The texts of `evalkit.inside`, each with the codec in front instead of the import of it.

A warden executes them once up to their last statement, so that no sandbox has to.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from evalkit.execution import Command

NAMES = ("checker", "worker")


@cache
def program_text(name: str) -> bytes:
    """The text of one program, complete in one file."""
    folder = Path(__file__).with_name("inside")
    codec, main = ((folder / f"{part}.py").read_text(encoding="utf-8") for part in ("codec", name))
    lines = [line for line in main.splitlines() if not line.startswith("from evalkit.")]
    return (codec + "\n" + "\n".join(lines) + "\n").encode()


@cache
def program(name: str) -> Command:
    """The command that runs one of them."""
    argv = ("python3", "-I", "-S", "main.py")
    return Command(argv=argv, files={"main.py": program_text(name)}, toolchain="python")


def prepared_name(command: Command) -> str:
    """Which of them a command runs; empty for any other."""
    return next((name for name in NAMES if command is program(name)), "")
