"""Lists as texts, for languages that have none to hand over: an item a line, a row's cells by tabs.

Not every list can be told from another that way; `as_lines` says so, and such a case is left out.
"""

from __future__ import annotations

from typing import Any

from evalkit.neutral import element_of, is_list


def as_lines(value: Any, kind: str) -> str | None:
    """Write a list as a text, None where the text would also mean another list."""
    inner = element_of(kind)
    if is_list(inner):
        rows = [_joined(row, "\t") for row in value]
        return None if None in rows else _joined(rows, "\n")
    return _joined(value, "\n")


def _joined(items: list[Any], by: str) -> str | None:
    texts = [_text(item) for item in items]
    if texts == [""] or any(mark in text for text in texts for mark in ("\n", by)):
        return None
    return by.join(texts)


def _text(item: Any) -> str:
    return str(item).lower() if isinstance(item, bool) else str(item)
