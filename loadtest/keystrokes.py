"""What developers type: traces cut from real source files, the same for the same seed.

A trace takes some whole lines out of a file and types them again, character by character, with the
rest of the file around the cursor. The editor indents: a line break comes together with the blanks
of the next line, as one keystroke. The times are made up, not recorded: log-normal gaps with a
median of 140 ms, a short stop after some of the signs and spaces, and a pause of thought before
some of the lines.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_GAP_S = (0.140, 0.45)  # median and spread (sigma of the logarithm) between two keys
_STOP_S = (0.55, 0.4)  # the same for a short stop
_STOPPING = 0.2  # share of the signs and spaces after which somebody stops
_THOUGHT_S = (1.2, 0.5)  # the same for a pause of thought
_THOUGHTFUL = 0.3  # share of the lines before which somebody thinks
_LINES = (3, 10)
_FILE_CHARS = (1_000, 60_000)


class Key(NamedTuple):
    """One keystroke: when, in seconds from the start of the trace, and what it inserts."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One stretch of typing: `before` and `after` stand in the file already."""

    path: str
    before: str
    after: str
    keys: tuple[Key, ...]

    @property
    def text(self) -> str:
        """What will have been typed at the end."""
        return "".join(key.text for key in self.keys)


def source_files(folder: Path | None = None, suffix: str = ".py") -> list[Path]:
    """Files to cut from, sorted; without a folder those of Python's own standard library."""
    root = folder or Path(sysconfig.get_path("stdlib"))
    found = []
    for path in sorted(root.rglob(f"*{suffix}")):
        parts = path.relative_to(root).parts
        if {"site-packages", "test", "tests", "__pycache__"} & set(parts):
            continue
        if _FILE_CHARS[0] <= path.stat().st_size <= _FILE_CHARS[1]:
            found.append(path)
    return found


def traces(files: Sequence[Path], seed: int) -> Iterator[Trace]:
    """Endless traces: files in a random order, a random stretch of each, new ones every round."""
    chance = random.Random(seed)
    order = list(files)
    while order:
        chance.shuffle(order)
        for path in order:
            try:
                source = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            cut = cut_trace(source, path.name, chance)
            if cut is not None:
                yield cut


def cut_trace(source: str, path: str, chance: random.Random) -> Trace | None:
    """Cut one trace out of a file; None if the file is too short."""
    lines = source.splitlines(keepends=True)
    count = chance.randint(*_LINES)
    starts = [
        number
        for number in range(len(lines) - count)
        if lines[number].strip() and not lines[number].lstrip().startswith(("#", "//"))
    ]
    if not starts:
        return None
    start = chance.choice(starts)
    stretch = "".join(lines[start : start + count])
    typed = stretch.rstrip("\n")
    before = "".join(lines[:start])
    indent = typed[: len(typed) - len(typed.lstrip(" \t"))]
    after = stretch[len(typed) :] + "".join(lines[start + count :])
    keys = tuple(_keys(typed[len(indent) :], chance))
    return Trace(path, before + indent, after, keys)


def _keys(text: str, chance: random.Random) -> Iterator[Key]:
    at_s = 0.0
    for stroke in _strokes(text):
        at_s += chance.lognormvariate(0, _GAP_S[1]) * _GAP_S[0]
        yield Key(at_s, stroke)
        if stroke.startswith("\n") and chance.random() < _THOUGHTFUL:
            at_s += chance.lognormvariate(0, _THOUGHT_S[1]) * _THOUGHT_S[0]
        elif not stroke.isalnum() and chance.random() < _STOPPING:
            at_s += chance.lognormvariate(0, _STOP_S[1]) * _STOP_S[0]


def _strokes(text: str) -> Iterator[str]:
    """Single characters; a line break takes the following blank lines and indentation along."""
    place = 0
    while place < len(text):
        end = place + 1
        if text[place] == "\n":
            while end < len(text) and text[end] in " \t\n":
                end += 1
        yield text[place:end]
        place = end
