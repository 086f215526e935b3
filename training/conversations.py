"""Conversations as a corpus: each is one window, whole, and the same example in every pass.

One of twenty, by the hash of its text, is held out. Those without an answer that fits into a row
are left out and counted in the log. All are held in memory. Read `Conversations`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer
from training.data.shards import HELD_OUT
from training.examples.conversation import Turn, conversation, read_conversations
from training.examples.example import Example
from training.examples.sentinels import Sentinels

logger = logging.getLogger(__name__)

GROUP = "instructions"
_HELD_OUT_OF = 20
Numbers = npt.NDArray[np.int64]


class Conversations:
    """The conversations of some files."""

    def __init__(
        self, files: Sequence[Path], split: str, tokenizer: Tokenizer, *, end: int, room: int
    ) -> None:
        """Read and tokenise all of them.

        Raises:
            ConfigError: a file is wrong, the vocabulary has no turns, or nothing fits.
        """
        sentinels = Sentinels.bind(tokenizer, "data.instructions")
        self._examples: list[Example] = []
        self._names: list[str] = []
        left_out = 0
        for turns in (turns for file in files for turns in read_conversations(file)):
            name = _name(turns)
            if (int(name[:8], 16) % _HELD_OUT_OF == 0) != (split == HELD_OUT):
                continue
            example = conversation(turns, tokenizer, sentinels, end, room)
            if example is None:
                left_out += 1
            else:
                self._examples.append(example)
                self._names.append(name)
        if left_out:
            logger.warning("conversations without an answer that fits", extra={"count": left_out})
        if not self._examples and split != HELD_OUT:
            raise ConfigError(f"data.instructions: no conversation fits into {room} ids")
        self._sizes = np.array([len(example.ids) for example in self._examples], dtype=np.int64)

    def groups(self) -> dict[str, Numbers]:
        """Numbers of the windows of each source."""
        return {GROUP: np.arange(len(self._examples))} if self._examples else {}

    def ids(self, windows: Numbers) -> int:
        """Ids that so many windows hold."""
        return int(self._sizes[windows].sum())

    def room(self, passes: Numbers, windows: Numbers) -> Numbers:  # noqa: ARG002, all are alike
        """Ids that each example takes."""
        return self._sizes[windows]

    def examples(self, passes: Numbers, windows: Numbers) -> list[Example]:  # noqa: ARG002
        """Give the example of each window."""
        return [self._examples[window] for window in windows.tolist()]

    def sample(self, window: int) -> str:
        """Name a conversation by the hash of its text."""
        return f"{self._names[window]}:0"


def _name(turns: Sequence[Turn]) -> str:
    told = "\0".join(part for turn in turns for part in turn)
    return hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=16).hexdigest()
