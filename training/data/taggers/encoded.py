"""Tags files that are mostly data in letters: base64, hex dumps, escaped bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag

_BASE64 = re.compile(r"[A-Za-z0-9+/]{60,}(?:={0,2}[\"'\s,+\\]{1,12}[A-Za-z0-9+/]{20,})*={0,2}")
_BYTES = (
    re.compile(r"(?:(?:\\x|0x|\\u|%)[0-9A-Fa-f]{2,8}[\s,;\"']*){12,}"),
    re.compile(r"(?<![^\s,:])(?:[0-9A-Fa-f]{2}[\s,:]+){24,}"),
)
# Base64 has both cases and digits within so many characters; names and rulers have not.
_HEAD = 200


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = config.filters.bounds_of

    def tag(document: Document) -> Iterator[Tag]:
        bounds = bounds_of(document.extension)
        sizes = list(_runs(document.text))
        if not sizes:
            return
        share = sum(sizes) / len(document.text)
        if share > bounds.max_encoded or max(sizes) > bounds.max_encoded_run > 0:
            yield Tag("encoded", f"{share:.2f} encoded, longest run {max(sizes)}")

    return tag


def _runs(text: str) -> Iterator[int]:
    for found in _BASE64.finditer(text):
        head = found[0][:_HEAD]
        digits, upper = (any(map(test, head)) for test in (str.isdigit, str.isupper))
        hexadecimal = digits and not head.strip("0123456789abcdefABCDEF")
        if hexadecimal or (digits and upper and any(map(str.islower, head))):
            yield found.end() - found.start()
    for pattern in _BYTES:
        yield from (found.end() - found.start() for found in pattern.finditer(text))
