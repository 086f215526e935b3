"""Tags XML whatever its name, and pages on which a reader would see next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from html.parser import HTMLParser

from training.data.config import DataConfig
from training.data.document import Document, Tag

_HEADER = "<?xml version="
_HEAD = 100
_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = lru_cache(1024)(config.filters.bounds_of)

    def tag(document: Document) -> Iterator[Tag]:
        if _HEADER in document.text[:_HEAD].lower():
            yield Tag("xml", "header")
        bounds = bounds_of(document.extension)
        if not (bounds.min_visible or bounds.min_visible_chars):
            return
        visible = visible_characters(document.text)
        share = visible / max(len(document.text), 1)
        if share < bounds.min_visible or visible < bounds.min_visible_chars:
            yield Tag("markup", f"{visible} characters ({share:.2f}) visible")

    return tag


def visible_characters(page: str) -> int:
    """Count what a reader sees of a page: no tags, scripts, styles or runs of blanks."""
    seen = _Seen()
    seen.feed(page)
    seen.close()
    return seen.characters


class _Seen(HTMLParser):
    """Adds up text outside of hidden elements; one that is never closed hides the rest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.characters = 0
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "body":
            self._hidden.clear()
        elif tag in _HIDDEN:
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.characters += len(" ".join(data.split()))
