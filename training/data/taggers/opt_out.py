"""Tags documents of repositories that are on the opt-out list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.data.config import DataConfig
from training.data.document import Document, Tag
from training.data.opt_out import is_listed, read_list


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    names = read_list(config.opt_out) if config.opt_out else frozenset()

    def tag(document: Document) -> Iterator[Tag]:
        if names and is_listed(document.repo, names):
            yield Tag("opted_out", document.repo)

    return tag
