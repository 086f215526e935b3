"""Tags documents whose licence is not allowed, or that nobody stated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag
from training.data.licences import is_permissive

_SPDX = re.compile(r"SPDX-License-Identifier:\s*([^\n*]+)")
_HEAD = 2000


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    allow = frozenset(name.lower() for name in config.licences.allow)

    def tag(document: Document) -> Iterator[Tag]:
        header = _SPDX.search(document.text[:_HEAD])
        licence = header[1].strip() if header else document.licence
        if not licence:
            if not config.licences.unknown:
                yield Tag("licence", "none stated")
        elif not (licence.lower() in allow if allow else is_permissive(licence)):
            yield Tag("licence", licence)

    return tag
