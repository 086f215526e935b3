"""Tags documents whose licence is not allowed, or that nobody stated.

The nearest statement wins: the file's header, then the nearest licence file, then the configuration
or the table's column. That header and repository differ is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag
from training.data.licences import header_licence, is_permissive


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    allow = frozenset(name.lower() for name in config.licences.allow)

    def tag(document: Document) -> Iterator[Tag]:
        header = header_licence(document.text)
        licence = header or document.licence
        if not licence:
            if not config.licences.unknown:
                yield Tag("licence", "none stated")
        elif not (licence.lower() in allow if allow else is_permissive(licence)):
            yield Tag("licence", licence)
        if header and document.licence and header.lower() != document.licence.lower():
            yield Tag("licence_conflict", f"header {header}, repository {document.licence}")

    return tag
