"""One source file on its way to training, and the tags it collects.

Nothing is thrown away here: a tagger says what it saw and why, the configuration decides later
which tags drop a document. `SCHEMA` is how documents lie in Parquet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

# A document's key is its part's number and its row in it: the order of the sources.
ROW_BITS = 20


class Tag(NamedTuple):
    """What a tagger saw: its `name`, and the measured value or the place that tells why."""

    name: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its origin.

    `repo` is the project it belongs to, `path` its place there, `licence` an SPDX expression or ""
    where none is known, `language` a row of languages.toml or "other", `commit` the one that its
    repository was at, "" if unknown. `id` is its lineage id: the same file of the same project has
    the same id in every run.
    """

    text: str
    path: str
    repo: str
    source: str
    licence: str
    language: str
    held_out: bool = False
    commit: str = ""

    @property
    def id(self) -> str:
        """128 bits in hex, of the project, the path and the text."""
        digest = hashlib.sha256()
        for part in (self.repo, self.path, self.text):
            digest.update(part.encode("utf-8", "surrogatepass"))
            digest.update(b"\0")
        return digest.hexdigest()[:32]

    @property
    def extension(self) -> str:
        """Lower-case extension of the path without its dot, "" if it has none."""
        name = self.path.rsplit("/", 1)[-1]
        return name.rsplit(".", 1)[-1].lower() if "." in name[1:] else ""


SCHEMA = pa.schema(
    [
        ("key", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("repo", pa.string()),
        ("path", pa.string()),
        ("commit", pa.string()),
        ("licence", pa.string()),
        ("language", pa.string()),
        ("held_out", pa.bool_()),
        ("bytes", pa.int64()),
        ("text", pa.large_string()),
        ("tags", pa.list_(pa.string())),
        ("evidence", pa.list_(pa.string())),
    ]
)


def key(part: int, row: int) -> int:
    """Number a document by its part and row; both are below 2^20 and 2^43."""
    return part << ROW_BITS | row


def part_of(key: int) -> int:
    """Number of the part that the document with this key lies in."""
    return key >> ROW_BITS
