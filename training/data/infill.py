"""Cut holes into code: one window of a document becomes one training example.

With probability `fim_rate` a window is split at characters, not tokens, into prefix, middle and
suffix (context-level FIM: Bavarian et al., arXiv 2207.14255), in SPM order with probability
`spm_rate`, else PSM. Holes are cut where a developer's cursor stands: three of five start within a
line and end at the end of that or a following line, the rest are random spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tabwright.fim import FimFormat, Order
from tabwright.tokenizer import Tokenizer

LINE_HOLES = 0.6
_MAX_SPAN = 1000
_BROKEN = "\ufffd"


class Hole(NamedTuple):
    """Character offsets of the middle within a text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Infilling:
    """Turns a window of token ids into the ids that the model is trained on."""

    tokenizer: Tokenizer
    fim: FimFormat
    fim_rate: float
    spm_rate: float
    header_rate: float

    def example(
        self, window: Sequence[int], path: str, rng: np.random.Generator, *, ends: bool
    ) -> list[int]:
        """Build one example. `ends`: the window reaches the end of its document."""
        eos = self.fim.stop_ids[0]
        header = self.fim.header(path, self.tokenizer) if rng.random() < self.header_rate else []
        if rng.random() < self.fim_rate:
            text = self.tokenizer.decode(window)
            hole = cut_hole(text, rng) if _BROKEN not in text else None
            if hole is not None:
                order = Order.SPM if rng.random() < self.spm_rate else Order.PSM
                prefix, middle, suffix = (
                    self.tokenizer.encode(part)
                    for part in (text[: hole.start], text[hole.start : hole.end], text[hole.end :])
                )
                return [*self.fim.prompt(prefix, suffix, header, order), *middle, eos]
        plain = self.fim.prompt(window, None, header)
        return [*plain, eos] if ends else plain


def cut_hole(text: str, rng: np.random.Generator) -> Hole | None:
    """Choose the middle of `text`; None when there is nothing to cut."""
    if not text.strip():
        return None
    if rng.random() < LINE_HOLES:
        return _line_hole(text, rng)
    start = int(rng.integers(len(text)))
    longest = min(_MAX_SPAN, len(text) - start)
    length = int(np.exp(rng.uniform(0, np.log(longest + 1))))
    return Hole(start, min(start + max(length, 1), len(text)))


def _line_hole(text: str, rng: np.random.Generator) -> Hole:
    """From somewhere in a line to its end, or to the end of one of the lines below."""
    lines = text.split("\n")
    offsets = np.cumsum([0, *(len(line) + 1 for line in lines)])
    filled = [i for i, line in enumerate(lines) if line.strip()]
    row = filled[int(rng.integers(len(filled)))]
    line, base = lines[row], int(offsets[row])
    indent = len(line) - len(line.lstrip())
    start = indent if rng.random() < 0.3 else int(rng.integers(indent, len(line)))
    if rng.random() < 0.15:  # a hole within the line, as between brackets that are already closed
        return Hole(base + start, base + int(rng.integers(start + 1, len(line) + 1)))
    below = 0 if rng.random() < 0.6 else int(rng.geometric(0.3))
    last = min(row + below, len(lines) - 1)
    return Hole(base + start, int(offsets[last]) + len(lines[last]))
