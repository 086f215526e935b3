"""Tags scripts and styles that were made small for the wire.

Three signs: the name says so, most of the text stands in long lines nearly without blanks, or
nearly every name is one letter. Only languages of the web are looked at; elsewhere `shape` has
bounds for lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag

_LANGUAGES = frozenset({"javascript", "typescript", "css", "html", "vue", "svelte"})
_NAME = re.compile(r"[.-]min\.\w+$|\.bundle\.js$|[.-]packed?\.js$", re.IGNORECASE)
_LONG_LINE = 300
_MAX_BLANKS = 0.1
_MAX_DENSE = 0.5
_IDENTIFIERS = re.compile(r"[A-Za-z_$][\w$]*")
_SAMPLE = 20_000
_MIN_IDENTIFIERS = 200
_MAX_SHORT = 0.5


def prepare(_: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger; it has no settings."""

    def tag(document: Document) -> Iterator[Tag]:
        if document.language not in _LANGUAGES:
            return
        if name := _NAME.search(document.path):
            yield Tag("minified", f"named {name[0]}")
        elif (dense := _dense(document.text)) > _MAX_DENSE:
            yield Tag("minified", f"{dense:.2f} in long lines without blanks")
        elif document.language in ("javascript", "typescript"):
            short = _short(document.text)
            if short > _MAX_SHORT:
                yield Tag("minified", f"{short:.2f} of the names have one letter")

    return tag


def _dense(text: str) -> float:
    dense = 0
    for line in text.split("\n"):
        if len(line) > _LONG_LINE and line.count(" ") + line.count("\t") < _MAX_BLANKS * len(line):
            dense += len(line)
    return dense / max(len(text), 1)


def _short(text: str) -> float:
    names = _IDENTIFIERS.findall(text, 0, _SAMPLE)
    if len(names) < _MIN_IDENTIFIERS:
        return 0.0
    return sum(1 for name in names if len(name) == 1) / len(names)
