"""Text to token ids for shards: the ids of `tabwright.tokenizer`, several times as fast.

A vocabulary of ours cuts ASCII into words by a pattern that Python can express too, and the ids of
a word do not depend on its neighbours. So each word is encoded once and looked up afterwards; code
repeats its words. Lines with other characters, and every other vocabulary, go the slow way.
Read `Encoder.encode`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tabwright.tokenizer import Tokenizer

# GPT-2's words within what `Digits` leaves between single digits, for texts of ASCII alone.
_WORDS = re.compile(
    r"[0-9]|'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[^ \t\n\v\f\rA-Za-z0-9]+"
    r"|[ \t\n\v\f\r]+(?![^ \t\n\v\f\r0-9])|[ \t\n\v\f\r]+"
)
# No word goes on from something to a line's end, so what follows has the same ids by itself.
_CUTS = re.compile(r"(?<=\S)(?=\n)")
_SPLITTING = [
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
]
_MOST_WORDS = 1 << 18  # some 30 MB
_MOST_LETTERS = 64


class Encoder:
    """Encodes with one vocabulary."""

    def __init__(self, definition: str) -> None:
        """Build from the text of a `tokenizer.json`.

        Raises:
            CorruptArtifact: the text is no tokenizer definition.
        """
        self.tokenizer = Tokenizer(definition)
        self.dtype = np.dtype(np.uint16 if self.tokenizer.vocab_size <= 2**16 else np.uint32)
        self._words = _Words(self.tokenizer, self.dtype) if _is_ours(definition) else None

    def encode(self, text: str) -> npt.NDArray[Any]:
        """Ids of a text, the same as `Tokenizer.encode` gives."""
        if self._words is None:
            return np.asarray(self.tokenizer.encode(text), dtype=self.dtype)
        pieces = [text] if text.isascii() else _CUTS.split(text)
        return np.frombuffer(b"".join(map(self._piece, pieces)), dtype=self.dtype)

    def _piece(self, text: str) -> bytes:
        assert self._words is not None
        if text.isascii():
            return b"".join(map(self._words.__getitem__, _WORDS.findall(text)))
        return np.asarray(self.tokenizer.encode(text), dtype=self.dtype).tobytes()


class _Words(dict[str, bytes]):
    """The ids of every word met so far, as bytes; no more of them than memory is meant for."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype[Any]) -> None:
        super().__init__()
        self._tokenizer, self._dtype = tokenizer, dtype

    def __missing__(self, word: str) -> bytes:
        ids = np.asarray(self._tokenizer.encode(word), dtype=self._dtype).tobytes()
        if len(self) < _MOST_WORDS and len(word) <= _MOST_LETTERS:
            self[word] = ids
        return ids


def _is_ours(definition: str) -> bool:
    """Whether words are cut as `training.tokenizer` has them cut."""
    parsed = json.loads(definition)
    cut = parsed.get("pre_tokenizer") or {}
    added = parsed.get("added_tokens") or []
    plain = parsed.get("normalizer") is None and all(token["special"] for token in added)
    return plain and cut.get("pretokenizers") == _SPLITTING
