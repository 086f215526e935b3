"""UL2's mixture of denoisers (Tay et al. 2022, arXiv 2205.05131), laid out for a decoder.

R and X cut spans out of a text and leave a mark for each; after `target` follow the marks again,
each with its span, and only this part is learnt. S is a prefix and its continuation. A token of
the mode says which. The seven denoisers are those of the paper's table, all as likely.

Marks cost room: where a row has too little, the text's head stays an ordinary text that is learnt,
and its tail alone is denoised, at the full rate. Read `Denoiser.tail`, then `denoised`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

from training.examples.example import Example
from training.examples.sentinels import Mode, Sentinels

_FIXED = 3  # mode, target, end of text
_LEAST = 8  # ids worth denoising


class Denoiser(NamedTuple):
    """mean: ids of a span. rate: share of the ids that is cut out; S: that is continued."""

    mode: Mode
    mean: float
    rate: float

    def spans(self, ids: int) -> int:
        """Number of spans in a text of `ids`."""
        noise = self.noise(ids)
        return 0 if self.mode is Mode.S else max(1, min(round(noise / self.mean), ids - noise))

    def noise(self, ids: int) -> int:
        """Number of ids that are cut out of `ids`."""
        return min(max(1, round(ids * self.rate)), ids - 1)

    def extra(self, ids: int) -> int:
        """Number of ids that an example has besides those of its text."""
        return _FIXED + 2 * self.spans(ids)

    def tail(self, ids: int, room: int) -> int:
        """How many of `ids` can be denoised if an example has room for `room`; 0: none."""
        tail = ids
        while tail >= _LEAST and ids + self.extra(tail) > room:
            over = ids + self.extra(tail) - room
            tail -= max(1, int(over / 2 * self.mean / self.rate))
        return tail if tail >= _LEAST else 0


DENOISERS = (
    Denoiser(Mode.R, 3, 0.15),
    Denoiser(Mode.R, 8, 0.15),
    Denoiser(Mode.X, 3, 0.5),
    Denoiser(Mode.X, 8, 0.5),
    Denoiser(Mode.X, 64, 0.15),
    Denoiser(Mode.X, 64, 0.5),
    Denoiser(Mode.S, 0, 0.25),
)


def denoised(
    window: Sequence[int],
    header: Sequence[int],
    denoiser: Denoiser,
    tail: int,
    sentinels: Sentinels,
    end: int,
    rng: Random,
) -> Example:
    """Make the example that denoises the last `tail` ids of `window`."""
    head = [*header, *window[: len(window) - tail]]
    text = list(window[len(window) - tail :])
    if denoiser.mode is Mode.S:
        cut = len(text) - denoiser.noise(len(text))
        shown, wanted = text[:cut], text[cut:]
    else:
        shown, wanted = _corrupted(text, denoiser, sentinels.marks, rng)
    given = [sentinels.modes[denoiser.mode], *shown, sentinels.target]
    silent = (len(head), len(head) + len(given))
    return Example([*head, *given, *wanted, end], (silent,), silent)


def _corrupted(
    text: list[int], denoiser: Denoiser, marks: Sequence[int], rng: Random
) -> tuple[list[int], list[int]]:
    """The text with a mark for each span, and the spans, each after its mark."""
    noise, spans = denoiser.noise(len(text)), denoiser.spans(len(text))
    kept = _parts(len(text) - noise, spans, rng)
    lost = _parts(noise, spans, rng)
    shown: list[int] = []
    wanted: list[int] = []
    at = 0
    for number in range(spans):
        mark = marks[number % len(marks)]
        shown += [*text[at : at + kept[number]], mark]
        at += kept[number]
        wanted += [mark, *text[at : at + lost[number]]]
        at += lost[number]
    return shown, wanted


def _parts(total: int, parts: int, rng: Random) -> list[int]:
    """Sizes of `parts` pieces of `total`, none empty, any division being as likely."""
    cuts = [0, *sorted(rng.sample(range(1, total), parts - 1)), total]
    return [end - start for start, end in pairwise(cuts)]
