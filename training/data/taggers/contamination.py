"""Tags documents that hold a task of a benchmark; the evidence is benchmark, task and kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.data.benchmarks import load_index
from training.data.config import DataConfig
from training.data.document import Document, Tag

TAG = "contamination"


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    index = load_index(config.contamination)

    def tag(document: Document) -> Iterator[Tag]:
        for task in index.find(document.text):
            yield Tag(TAG, task.evidence)

    return tag
