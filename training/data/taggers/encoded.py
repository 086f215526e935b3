"""Tags files that are mostly data in letters: base64, hex dumps, escaped bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from training.data.config import DataConfig
from training.data.document import Document, Tag

_BASE64 = re.compile(r"[A-Za-z0-9+/]{60,}(?:={0,2}[\"'\s,+\\]{1,12}[A-Za-z0-9+/]{20,})*={0,2}")
_ESCAPED = re.compile(r"(?:(?:\\x|0x|\\u|%)[0-9A-Fa-f]{2,8}[\s,;\"']*){12,}")
_DUMP = re.compile(r"(?<![^\s,:])(?:[0-9A-Fa-f]{2}[\s,:]+){24,}")
# What stands for each byte of a text where it is only asked whether a pattern can match at all.
_SHAPES = bytes(
    ord("h") if chr(code) in "0123456789abcdefABCDEF" else
    ord("a") if (chr(code).isalnum() and code < 128) or chr(code) in "+/" else
    ord(" ") if code > 127 or chr(code).isspace() or chr(code) in ",:" else ord(".")
    for code in range(256)
)  # fmt: skip
_LETTERS = bytes.maketrans(b"h", b"a")
_ESCAPES = (b"\\x", b"0x", b"\\u", b"%")
# Base64 has both cases and digits within so many characters; names and rulers have not.
_HEAD = 200


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = lru_cache(1024)(config.filters.bounds_of)

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
    raw = text.encode("utf-8", "surrogatepass")
    shapes = raw.translate(_SHAPES)
    if b"a" * 60 in shapes.translate(_LETTERS):
        yield from _base64(text)
    if sum(map(raw.count, _ESCAPES)) >= 12:
        yield from (found.end() - found.start() for found in _ESCAPED.finditer(text))
    if shapes.count(b" hh ") >= 8:  # of 24 in a row at least every second is counted
        yield from (found.end() - found.start() for found in _DUMP.finditer(text))


def _base64(text: str) -> Iterator[int]:
    for found in _BASE64.finditer(text):
        head = found[0][:_HEAD]
        digits, upper = (any(map(test, head)) for test in (str.isdigit, str.isupper))
        hexadecimal = digits and not head.strip("0123456789abcdefABCDEF")
        if hexadecimal or (digits and upper and any(map(str.islower, head))):
            yield found.end() - found.start()
