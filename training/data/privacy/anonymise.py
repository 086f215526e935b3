"""Replace people, addresses and secrets in a text by stand-ins of their kind.

Read `anonymise`. Finders say where something is; where two overlap the one that starts first stays,
of two that start together the longer.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from training.data.privacy import addresses, people, secrets
from training.data.privacy.findings import Finding
from training.data.privacy.hints import lowered
from training.data.privacy.stand_ins import stand_in


class Anonymised(NamedTuple):
    """A text without anybody's data, and the kinds of what was replaced, in order."""

    text: str
    kinds: tuple[str, ...]


def anonymise(text: str, repo: str, seed: int) -> Anonymised:
    """Replace everything found; the same value of a repository gets the same stand-in."""
    pieces, kinds, place = [], [], 0
    for found in findings(text):
        value = text[found.start : found.end]
        pieces += [text[place : found.start], stand_in(found.kind, value, repo, seed, found.keep)]
        kinds.append(found.kind)
        place = found.end
    return Anonymised("".join([*pieces, text[place:]]), tuple(kinds))


def findings(text: str) -> list[Finding]:
    """What is in a text, in order and without overlaps."""
    lower = lowered(text)
    found = chain(secrets.find(text, lower), people.find(text, lower), addresses.find(text))
    chosen: list[Finding] = []
    for finding in sorted(found, key=lambda f: (f.start, -f.end, f.kind)):
        if not chosen or finding.start >= chosen[-1].end:
            chosen.append(finding)
    return chosen
