"""Pack sizes into rows so that little is wasted: best fit, longest first.

Each size goes into the fullest row that still has room for it. Which rows have how much room is one
number with a bit for each amount, so the best row is found by two operations on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def fitted(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Give the rows as positions in `sizes`, ascending in each; no size may exceed `room`."""
    rows: list[list[int]] = []
    left: dict[int, list[int]] = defaultdict(list)
    amounts = 0
    for position in np.argsort(-np.asarray(sizes), kind="stable").tolist():
        size = sizes[position]
        fitting = amounts >> size
        if fitting:
            amount = size + (fitting & -fitting).bit_length() - 1
            row = left[amount].pop()
            if not left[amount]:
                amounts ^= 1 << amount
        else:
            amount, row = room, len(rows)
            rows.append([])
        rows[row].append(position)
        rest = amount - size
        left[rest].append(row)
        amounts |= 1 << rest
    for row_of in rows:
        row_of.sort()
    return rows
