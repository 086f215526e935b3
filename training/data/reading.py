"""Bytes of a file to text, or the reason why they are none.

Line ends become `\\n`, a byte order mark goes, UTF-8 is tried first, then UTF-16 by its mark, then
Windows-1252 when the bytes look like text. What is binary is never guessed at.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

from training.data.document import Tag

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_MAX_CONTROL = 0.01


class Text(NamedTuple):
    """The text of a file, "" when there is a tag that says why there is none."""

    text: str
    tags: tuple[Tag, ...] = ()


def read_text(raw: bytes) -> Text:
    """Decode a file's bytes; `repaired` tags say which encoding it was."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            try:
                return Text(_lines(raw[len(mark) :].decode(encoding)))
            except UnicodeDecodeError:
                return Text("", (Tag("binary", f"no {encoding} after its mark"),))
    if b"\0" in raw:
        return Text("", (Tag("binary", "NUL bytes"),))
    try:
        return Text(_lines(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        control = sum(raw.count(byte) for byte in _CONTROL)
        if control > _MAX_CONTROL * len(raw):
            return Text("", (Tag("binary", "control bytes"),))
        text = raw.decode("cp1252", errors="replace")
        return Text(_lines(text), (Tag("repaired", f"windows-1252 at byte {error.start}"),))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
