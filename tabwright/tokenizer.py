"""Text to token ids and back, over a Hugging Face `tokenizer.json`.

`encode` never parses control tokens: they are added by `tabwright.fim` as ids. `Detokenizer` turns
a stream of ids into text piece by piece and never emits half a character. Which tokens mean what is
the business of `tabwright.fim`; training a tokenizer is `training.tokenizer`'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer as HubTokenizer

from tabwright.errors import CorruptArtifact

_REPLACEMENT = "\ufffd"
_CONTROL = re.compile(r"<[|｜].+[|｜]>")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MOST_CONTINUED = 3  # bytes of a character after its first
_CONTEXT_TOKENS = 6  # enough of the prompt's end for decoders that look back (leading spaces)


class Tokenizer:
    """A byte-complete tokenizer.

    Control tokens are the added tokens marked special, and those written like `<|this|>`, which
    some families forget to mark. Other added tokens (runs of blanks, HTML tags) are ordinary text.
    Two instances of the same file are kept: one that takes the text of a control token literally,
    to encode, and one that decodes.
    """

    def __init__(self, definition: str) -> None:
        """Build from the text of a `tokenizer.json`.

        Raises:
            CorruptArtifact: the text is no tokenizer definition.
        """
        try:
            parsed = json.loads(definition)
            self._full = HubTokenizer.from_str(definition)
            added = [
                token | {"special": token["special"] or bool(_CONTROL.fullmatch(token["content"]))}
                for token in parsed.get("added_tokens") or []
            ]
            self._plain = HubTokenizer.from_str(
                json.dumps(parsed | {"added_tokens": added, "post_processor": None})
            )
        except Exception as error:  # the binding raises bare Exception
            raise CorruptArtifact(f"tokenizer.json cannot be read: {error}") from error
        self._plain.encode_special_tokens = True  # the binding's name for "take them as text"
        self._special = {t["content"]: int(t["id"]) for t in added if t["special"]}
        self._special_ids = frozenset(self._special.values())
        self._vocab_size = max(
            self._full.get_vocab_size(with_added_tokens=True),
            *(int(token["id"]) + 1 for token in added),
            0,
        )
        self._added = {int(token["id"]) for token in added}
        decoder = json.dumps(parsed.get("decoder"))
        self._is_byte_level = '"ByteLevel"' in decoder
        falls_back = '"ByteFallback"' in decoder
        self._byte_ids = _byte_ids(self._full) if falls_back else []
        self._bytes = {token_id: byte for byte, token_id in enumerate(self._byte_ids)}
        for tokenizer in (self._full, self._plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        # Tables of alternatives show few different tokens, each many times.
        self._bytes_of = lru_cache(maxsize=8192)(self._added_bytes)
        self._shown = lru_cache(maxsize=8192)(self._named)
        self._ordinary = max(self._plain.encode("a", add_special_tokens=False).ids, default=0)

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
        """Number of ids, control tokens included: every id is below it."""
        return self._vocab_size

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the control tokens; they have no text."""
        return self._special_ids

    def token_id(self, token: str) -> int | None:
        """Id of a control token, or None when the tokenizer has none of that text."""
        return self._special.get(token)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, every character taken literally; nothing is added before or after.

        Half of a surrogate pair, which JSON can carry and UTF-8 cannot, becomes U+FFFD.
        """
        ids: list[int] = self._plain.encode(_whole(text), add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts on all cores."""
        rows = self._plain.encode_batch([_whole(text) for text in texts], add_special_tokens=False)
        return [row.ids for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; control tokens have none, broken UTF-8 becomes U+FFFD."""
        shown = [i for i in ids if i not in self._special_ids]
        if self._bytes:
            shown = self._mended(shown)
        text: str = self._full.decode(shown, skip_special_tokens=False)
        return text

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds to a text, maybe part of a character; a control token adds nothing."""
        return self._bytes_of(token_id)

    def shown(self, token_id: int) -> str:
        """A token by itself, for people: its text, its bytes if those are none, or its name."""
        return self._shown(token_id)

    def _added_bytes(self, token_id: int) -> bytes:
        if token_id in self._special_ids:
            return b""
        if token_id in self._bytes:
            return bytes([self._bytes[token_id]])
        token: str = self._full.id_to_token(token_id) or ""
        if self._is_byte_level and _BYTE_OF.keys() >= set(token) and token_id not in self._added:
            return bytes(_BYTE_OF[character] for character in token)
        # After another token, or a decoder would drop the blank that it drops in front of a text.
        before: str = self._full.decode([self._ordinary])
        both: str = self._full.decode([self._ordinary, token_id], skip_special_tokens=False)
        return both.removeprefix(before).encode()

    def _named(self, token_id: int) -> str:
        token: str | None = self._full.id_to_token(token_id)
        if token is None:
            return f"token_id:{token_id}"  # a model may have more ids than its tokenizer
        if token_id in self._special_ids:
            return token
        raw = self.token_bytes(token_id)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

    def detokenizer(self, prompt: Sequence[int] = ()) -> Detokenizer:
        """Start decoding what follows `prompt`."""
        return Detokenizer(self, prompt)

    def _mended(self, ids: Sequence[int]) -> list[int]:
        """Replace the bytes that are no UTF-8 by those of U+FFFD.

        The binding's byte fallback gives up a whole run of byte tokens, good characters included,
        when one of them is unfinished.
        """
        mended: list[int] = []
        for are_bytes, run in groupby(ids, key=self._bytes.__contains__):
            if are_bytes:
                text = bytes(self._bytes[i] for i in run).decode("utf-8", "replace")
                mended.extend(self._byte_ids[byte] for byte in text.encode())
            else:
                mended.extend(run)
        return mended


class Detokenizer:
    """Turns ids into text as they arrive.

    A character whose bytes are split over tokens is held back until it is whole; a leading space
    that the decoder would drop at the start of a text is kept, because a few prompt ids stand
    before it. The pieces of `push` and the final `flush` joined equal the text of all ids.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        """Start after `prompt`, whose own text is never emitted."""
        self._tokenizer = tokenizer
        plain = [i for i in prompt if i not in tokenizer.special_ids]
        self._ids = plain[-_CONTEXT_TOKENS:]
        # A cut may leave up to three bytes of a character: drop them. Any other U+FFFD is text.
        cut = len(plain) > len(self._ids)
        while cut and tokenizer.decode(self._ids).startswith(_REPLACEMENT):
            self._ids.pop(0)
            cut = len(self._ids) > _CONTEXT_TOKENS - _MOST_CONTINUED
        self._start = 0
        self._read = len(self._ids)
        self._shown = tokenizer.decode(self._ids)

    def push(self, ids: Sequence[int]) -> str:
        """Take new ids and return the text that is certain by now, possibly empty."""
        self._ids.extend(i for i in ids if i not in self._tokenizer.special_ids)
        text = self._tokenizer.decode(self._ids[self._start :])
        whole = text.rstrip(_REPLACEMENT)
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


def _printable_bytes() -> dict[str, int]:
    """Which character stands for which byte in a byte-level vocabulary.

    Printable ones of Latin-1 for themselves, the others for characters from U+0100 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


_BYTE_OF = _printable_bytes()


def _byte_ids(tokenizer: HubTokenizer) -> list[int]:
    """Ids of `<0x00>` to `<0xFF>`, or nothing unless all are there."""
    found = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    ids = [token_id for token_id in found if token_id is not None]
    return ids if len(ids) == len(found) else []


def _whole(text: str) -> str:
    return _SURROGATES.sub(_REPLACEMENT, text)
