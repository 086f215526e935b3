"""Tags code that a program wrote: by its first lines, or by a name that only generators give.

The marks are words that generators leave in a file's first lines; the first four were StarCoder2's
(arXiv 2402.19173). What is merely minified is `minified`'s, what is mostly data is `encoded`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag

_LINES = 5
_HEAD = 2000
_MARKS = re.compile(
    r"auto-?generated|automatically generated|do not (?:edit|modify)|@generated\b"
    r"|machine[- ]generated|(?:file|code|source|header|module|script) (?:was |is |has been )?"
    r"generated (?:by|from|with)\b|(?:^|[/#*;-])\s*generated (?:by|from|with|using)\b"
    r"|this is a generated (?:file|source)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = re.compile(
    r"(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:go|h|cc)|_pb\.(?:js|d\.ts)|\.g\.(?:dart|cs)|\.freezed\.dart"
    r"|\.designer\.(?:cs|vb)|\.(?:generated|gen)\.\w+|_generated\.\w+|\.g4\.\w+|zz_generated[\w.]*"
    r"|/(?:moc|ui|qrc)_\w+\.(?:cpp|h|py)|/bindata\.go|/package-lock\.json|/npm-shrinkwrap\.json"
    r"|/(?:yarn|poetry|cargo|composer|gemfile|pnpm-lock|packages|flake)\.(?:lock|lock\.json|yaml)"
    r"|/go\.sum|/configure|/aclocal\.m4|/makefile\.in|/ltmain\.sh|\.tab\.[ch]|/lex\.yy\.c)$"
)


def prepare(_: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger; it has no settings."""

    def tag(document: Document) -> Iterator[Tag]:
        if name := _NAMES.search("/" + document.path.lower()):
            yield Tag("generated", f"named {name[0].lstrip('/')}")
            return
        head = "\n".join(document.text[:_HEAD].split("\n", _LINES)[:_LINES])
        if mark := _MARKS.search(head):
            yield Tag("generated", mark[0].strip("#/*;- ").lower())

    return tag
