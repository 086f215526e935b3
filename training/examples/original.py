"""From an example back to the text that it was made of.

Proves that no kind of example loses anything, and shows what a row of ids was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tabwright.fim import FimFormat, Order
from training.examples.sentinels import Sentinels
from training.examples.splitting import Vocabulary


class Original(NamedTuple):
    """The bytes of the text, and of the header that stood before it."""

    text: bytes
    header: bytes


def original(
    ids: Sequence[int], vocabulary: Vocabulary, fim: FimFormat, sentinels: Sentinels | None
) -> Original:
    """Undo any objective. `sentinels`: those of the vocabulary, if it has spare ones."""
    body = list(ids)
    header, body = _without_header(body, vocabulary, fim)
    if body and body[-1] == fim.stop_ids[0]:
        body.pop()
    if sentinels is not None and sentinels.target in body:
        body = _undone(body, sentinels)
    elif body and body[0] == fim.ids["<fim_prefix>"]:
        body = _rejoined(body, fim)
    return Original(vocabulary.raw(body), header)


def _without_header(
    ids: list[int], vocabulary: Vocabulary, fim: FimFormat
) -> tuple[bytes, list[int]]:
    if not ids or fim.family.file is None or ids[0] != fim.ids[fim.family.file]:
        return b"", ids
    at = next(n for n, i in enumerate(ids) if vocabulary.raw([i]).endswith(b"\n"))
    return vocabulary.raw(ids[1:at]), ids[at + 1 :]


def _rejoined(ids: list[int], fim: FimFormat) -> list[int]:
    suffix_at, middle_at = ids.index(fim.ids["<fim_suffix>"]), ids.index(fim.ids["<fim_middle>"])
    order = Order.SPM if suffix_at == 1 else Order.PSM
    if order is Order.SPM:  # prefix and middle touch
        return [*ids[middle_at + 1 :], *ids[2:middle_at]]
    return [*ids[1:suffix_at], *ids[middle_at + 1 :], *ids[suffix_at + 1 : middle_at]]


def _undone(ids: list[int], sentinels: Sentinels) -> list[int]:
    target = ids.index(sentinels.target)
    marks, modes = set(sentinels.marks), set(sentinels.modes.values())
    spans: list[list[int]] = [[]]
    for number in ids[target + 1 :]:
        if number in marks:
            spans.append([])
        else:
            spans[-1].append(number)
    text: list[int] = []
    left = iter(spans[1:])
    for number in ids[:target]:
        if number in marks:
            text += next(left)
        elif number not in modes:
            text.append(number)
    return [*text, *spans[0]]
