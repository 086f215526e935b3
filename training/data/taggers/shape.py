"""Tags by the shape of the text: how long its lines are, how much of it is words.

Thresholds are those that BigCode published for The Stack; the configuration changes them, also for
single extensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag

_MIN_LINES = 3


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = config.filters.bounds_of

    def tag(document: Document) -> Iterator[Tag]:
        bounds = bounds_of(document.extension)
        lines = document.text.split("\n")
        filled = sum(1 for line in lines if line.strip())
        if filled < _MIN_LINES:
            yield Tag("empty", f"{filled} lines")
            return
        longest = max(map(len, lines))
        mean = len(document.text) / len(lines)
        if longest > bounds.max_line or mean > bounds.max_mean_line:
            yield Tag("long_lines", f"longest {longest}, mean {mean:.0f}")
        share = sum(map(str.isalnum, document.text)) / len(document.text)
        if share < bounds.min_alphanumeric:
            yield Tag("symbols", f"{share:.2f} letters and digits")

    return tag
