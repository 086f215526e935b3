"""What a finder reports: a span of the text, its kind, how much of its start says only the kind."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Characters [start, end) of a text; the first `keep` of them stay, as in `ghp_...`."""

    start: int
    end: int
    kind: str
    keep: int = 0
