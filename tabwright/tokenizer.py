"""Text to token ids and back, over a Hugging Face `tokenizer.json`.

`encode` never parses control tokens: they are added by `tabwright.fim` as ids. `Detokenizer` turns
a stream of ids into text piece by piece and never emits half a character. Which tokens mean what is
the business of `tabwright.fim`; training a tokenizer is `training.tokenizer`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as HubTokenizer

from tabwright.errors import CorruptArtifact

_REPLACEMENT = "\ufffd"
_CONTEXT_TOKENS = 6  # enough of the prompt's end for decoders that look back (leading spaces)


class Tokenizer:
    """A byte-complete tokenizer.

    Two instances of the same file are kept: one without the added tokens, which encodes user text
    literally, and one with them, which decodes and knows their ids.
    """

    def __init__(self, definition: str) -> None:
        """Build from the text of a `tokenizer.json`.

        Raises:
            CorruptArtifact: the text is no tokenizer definition.
        """
        try:
            parsed = json.loads(definition)
            self._full = HubTokenizer.from_str(definition)
            added = parsed.pop("added_tokens", None) or []
            self._plain = HubTokenizer.from_str(
                json.dumps(parsed | {"added_tokens": [], "post_processor": None})
            )
        except Exception as error:  # the binding raises bare Exception
            raise CorruptArtifact(f"tokenizer.json cannot be read: {error}") from error
        self._special = {token["content"]: int(token["id"]) for token in added}
        self._special_ids = frozenset(self._special.values())
        for tokenizer in (self._full, self._plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a `tokenizer.json`.

        Raises:
            CorruptArtifact: the file is missing or no tokenizer definition.
        """
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CorruptArtifact(f"{path.name}: {error}") from error

    @property
    def vocab_size(self) -> int:
        """Number of ids, control tokens included."""
        return self._full.get_vocab_size(with_added_tokens=True)

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the control tokens; they have no text."""
        return self._special_ids

    def token_id(self, token: str) -> int | None:
        """Id of a control token, or None when the tokenizer has none of that text."""
        return self._special.get(token, self._full.token_to_id(token))

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, every character taken literally; nothing is added before or after."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts on all cores."""
        rows = self._plain.encode_batch(list(texts), add_special_tokens=False)
        return [row.ids for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; control tokens have none, broken UTF-8 becomes U+FFFD."""
        text: str = self._full.decode(
            [i for i in ids if i not in self._special_ids], skip_special_tokens=False
        )
        return text

    def detokenizer(self, prompt: Sequence[int] = ()) -> Detokenizer:
        """Start decoding what follows `prompt`."""
        return Detokenizer(self, prompt)


class Detokenizer:
    """Turns ids into text as they arrive.

    A character whose bytes are split over tokens is held back until it is whole; a leading space
    that the decoder would drop at the start of a text is kept, because a few prompt ids stand
    before it. The pieces of `push` and the final `flush` joined equal the text of all ids.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        """Start after `prompt`, whose own text is never emitted."""
        self._tokenizer = tokenizer
        self._ids = [i for i in prompt if i not in tokenizer.special_ids][-_CONTEXT_TOKENS:]
        while self._ids and tokenizer.decode(self._ids[:1]).startswith(_REPLACEMENT):
            self._ids.pop(0)
        self._start = 0
        self._read = len(self._ids)
        self._shown = tokenizer.decode(self._ids)

    def push(self, ids: Sequence[int]) -> str:
        """Take new ids and return the text that is certain by now, possibly empty."""
        self._ids.extend(i for i in ids if i not in self._tokenizer.special_ids)
        text = self._tokenizer.decode(self._ids[self._start :])
        whole = text.rstrip(_REPLACEMENT) if self._ends_open(text) else text
        piece = whole[len(self._shown) :]
        if not piece:
            return ""
        if whole == text:
            # Everything so far is shown: only the last ids matter as context from here on.
            self._start, self._read = self._read, len(self._ids)
            self._shown = self._tokenizer.decode(self._ids[self._start :])
        else:
            self._shown = whole
        return piece

    def flush(self) -> str:
        """Return what was held back; an unfinished character becomes U+FFFD."""
        text = self._tokenizer.decode(self._ids[self._start :])
        piece = text[len(self._shown) :]
        self._shown = text
        return piece

    def _ends_open(self, text: str) -> bool:
        return text.endswith(_REPLACEMENT)
