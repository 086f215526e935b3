"""Tags by the share of comments: none at all tells little, nothing else is no code.

A line counts whole when it starts with the language's mark of a comment or stands in a block of
them; Python's docstrings count. Comments behind code are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

from tabwright.languages import Language, languages
from training.data.config import DataConfig
from training.data.document import Document, Tag

# Text and markup have comments, but none that explain code.
_NO_CODE = frozenset({"markdown", "text", "html", "xml", "json", "latex", "vue", "svelte"})
_MIN_CHARS = 400


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = lru_cache(1024)(config.filters.bounds_of)
    rows = {row.name: row for row in languages()}

    def tag(document: Document) -> Iterator[Tag]:
        row = rows.get(document.language)
        pattern = _pattern(row) if row and row.name not in _NO_CODE else None
        if pattern is None or len(document.text) < _MIN_CHARS:
            return
        bounds = bounds_of(document.extension)
        commented = sum(found.end() - found.start() for found in pattern.finditer(document.text))
        share = commented / len(document.text)
        if share < bounds.min_comments:
            yield Tag("few_comments", f"{share:.3f}")
        elif share > bounds.max_comments > 0:
            yield Tag("comments", f"{share:.2f}")

    return tag


@cache
def _pattern(row: Language) -> re.Pattern[str] | None:
    marks = []
    if row.block_comment:
        opening, closing = map(re.escape, row.block_comment)
        marks.append(rf"{opening}(?s:.*?){closing}")
    if row.line_comment:
        marks.append(rf"{re.escape(row.line_comment)}[^\n]*")
    marks += [rf"{quote}(?s:.*?){quote}" for quote in row.long_quotes if row.name == "python"]
    return re.compile(rf"^[ \t]*(?:{'|'.join(marks)})", re.MULTILINE) if marks else None
