"""The texts of `evalkit.inside`, each with the codec in front instead of the import of it.

A warden compiles them once, so that no sandbox has to.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

NAMES = ("checker", "worker")


@cache
def program_text(name: str) -> bytes:
    """The text of one program, complete in one file."""
    folder = Path(__file__).with_name("inside")
    codec, main = ((folder / f"{part}.py").read_text(encoding="utf-8") for part in ("codec", name))
    lines = [line for line in main.splitlines() if not line.startswith("from evalkit.")]
    return (codec + "\n" + "\n".join(lines) + "\n").encode()
