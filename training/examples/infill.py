"""Fill in the middle: a text is split at characters, and its middle is learnt last.

Bavarian et al. 2022 (arXiv 2207.14255): *context level* cuts a hole into the window that a row
has room for; *document level* cuts one into the whole document, which is cut into windows
afterwards, so that a window may hold the prefix and its neighbour the middle. The layout is the one
that serving uses (`FimFormat.prompt`). Which hole is cut is the business of `spans.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tabwright.fim import FimFormat, Order
from training.examples.spans import Spans
from training.examples.splitting import Vocabulary


@dataclass(frozen=True, slots=True)
class Infilling:
    """Turns ids of code into the ids of one example."""

    vocabulary: Vocabulary
    fim: FimFormat
    spm_rate: float
    spans: Spans

    def ids(
        self, window: Sequence[int], language: str, header: Sequence[int], rng: Random
    ) -> list[int] | None:
        """Lay out one hole of `window`; None when there is nothing to cut.

        A window that begins or ends within a character has nothing to cut either.
        """
        text = self.vocabulary.text(window)
        hole = self.spans.cut(text, language, rng) if text else None
        if text is None or hole is None:
            return None
        order = Order.SPM if rng.random() < self.spm_rate else Order.PSM
        cuts = [len(text[:at].encode("utf-8")) for at in hole]
        prefix, middle, suffix = self.vocabulary.split(window, cuts)
        end = self.fim.stop_ids[0]
        return [*self.fim.prompt(prefix, suffix, header, order), *middle, end]
