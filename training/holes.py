"""Cut held-out files into single-line holes: the questions of the bundled model's card.

A hole starts somewhere in a line of a file that training never saw and ends at the line's end, so
that the answer is what the author typed next. The file is cut around it to what an editor sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tabwright.tokenizer import Tokenizer
from training.data.shards import HELD_OUT, open_shards

_MIN_ANSWER, _MAX_ANSWER = 4, 80
_LINES_BEFORE, _LINES_AFTER = 60, 20


@dataclass(frozen=True, slots=True)
class Hole:
    """One question: `middle` is what stood between `prefix` and `suffix`."""

    path: str
    source: str
    licence: str
    prefix: str
    middle: str
    suffix: str


def cut_holes(data: Path, count: int, seed: int = 0) -> Iterator[Hole]:
    """Yield `count` holes, at most one in three lines of a document, spread over all documents."""
    tokenizer = Tokenizer.from_file(data / "tokenizer.json")
    documents = [
        (entry, tokenizer.decode(shard.ids[entry.start : entry.start + entry.tokens].tolist()))
        for shard in open_shards(data, HELD_OUT)
        for entry in shard.entries
    ]
    rng = np.random.default_rng(seed)
    weights = np.array([text.count("\n") for _, text in documents], dtype=float)
    for chosen in rng.choice(len(documents), size=count * 20, p=weights / weights.sum()):
        entry, text = documents[int(chosen)]
        lines = text.split("\n")
        row = int(rng.integers(1, max(2, len(lines) - 1)))
        line = lines[row]
        stripped = line.strip()
        if len(stripped) < 2 * _MIN_ANSWER or stripped.startswith(("#", '"', "'")):
            continue
        indent = len(line) - len(line.lstrip())
        at = int(rng.integers(indent, len(line) - _MIN_ANSWER + 1))
        middle = line[at:]
        if len(middle) > _MAX_ANSWER or middle != middle.rstrip():
            continue
        before = "\n".join([*lines[max(0, row - _LINES_BEFORE) : row], line[:at]])
        after = "\n".join(["", *lines[row + 1 : row + 1 + _LINES_AFTER]])
        yield Hole(entry.path, entry.source, entry.licence, before, middle, after)
        count -= 1
        if not count:
            return


def write_holes(data: Path, count: int, out: Path, seed: int = 0) -> int:
    """Write holes as JSON lines; returns how many."""
    rows = [json.dumps(asdict(hole)) for hole in cut_holes(data, count, seed)]
    out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return len(rows)
