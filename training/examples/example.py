"""One example: ids, which of them are not learnt, and which see each other in both directions."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What is made of a window; a row may hold several kinds."""

    NEXT_TOKEN = 0
    FIM = 1
    UL2 = 2
    PREFIX = 3


class Example(NamedTuple):
    """Ids in order.

    silent: pieces [start, end) that are read and not learnt. prefix: the piece whose ids may see
    each other in both directions, where a model is built for it.
    """

    ids: list[int]
    silent: tuple[tuple[int, int], ...] = ()
    prefix: tuple[int, int] = (0, 0)
