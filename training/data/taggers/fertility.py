"""Tags texts of which a token holds too few characters: data, symbols, languages unknown.

Measured with the vocabulary that the configuration names, or with the bundled model's, on three
pieces of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from training.data.config import DataConfig
from training.data.document import Document, Tag
from training.data.encoding import Encoder

_PIECE = 1000
_MIN_CHARS = 400


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = lru_cache(1024)(config.filters.bounds_of)
    file = config.tokenizer.file

    def tag(document: Document) -> Iterator[Tag]:
        bound = bounds_of(document.extension).min_fertility
        if not bound or len(document.text) < _MIN_CHARS:
            return
        pieces = sample(document.text)
        tokens = len(_encoder(file).encode(pieces))
        if len(pieces) < bound * tokens:
            yield Tag("fertility", f"{len(pieces) / tokens:.2f} characters a token")

    return tag


def sample(text: str) -> str:
    """Take the text itself, or three pieces of a long one: its start, middle and end."""
    if len(text) <= 3 * _PIECE:
        return text
    middle = (len(text) - _PIECE) // 2
    return text[:_PIECE] + text[middle : middle + _PIECE] + text[-_PIECE:]


@cache
def _encoder(file: Path | None) -> Encoder:
    if file:
        return Encoder(file.expanduser().read_text(encoding="utf-8"))
    bundled = resources.files("server") / "models" / "tabwright-7m" / "tokenizer.json"
    return Encoder(bundled.read_text(encoding="utf-8"))
